// Tells a running chaosproxy what pusher-js does: the states of its connection, its errors, and marks that the app sets.
//
//   In a page:    <script src="http://127.0.0.1:7002/client/TOKEN/chaosproxy.js"></script>
//                 chaosproxy.watch(pusher, { client: "anna" })
//   As a module:  import { watch, mark } from "http://127.0.0.1:7002/client/TOKEN/chaosproxy.mjs"
//   In Node:      import { watch, mark } from "./chaosproxy.js" (a copy of this file; chaosproxy.mjs where package.json
//                 says "type": "module"), then watch(pusher, { url: "http://127.0.0.1:7002/client/TOKEN", client: "anna" })
//
// The app must not notice it: nothing is thrown into it, nothing waits, and what can't be sent is kept for a while and
// then forgotten, oldest first.

globalThis.chaosproxy = globalThis.chaosproxy || (() => {
  'use strict';

  const QUEUE_MAX = 256; // reports, while the control address is away
  const BATCH_MAX = 32; // in one request
  const TEXT_MAX = 64;
  const CLIENT_MAX = 256;
  const TIMEOUT_MS = 5000;
  const RETRY_MS = [250, 500, 1000, 2000, 5000];
  const ADDRESS = /^(https?:\/\/.+\/client\/[^/?#]+)\/chaosproxy\.m?js/;

  const post = typeof fetch === 'function' ? fetch.bind(globalThis) : null; // as it is now: apps and tests replace it
  const clock = typeof performance === 'object' ? () => performance.now() : () => Date.now();
  const watched = new Map(); // by pusher: its watcher
  let home = '';

  /** Take the address from which this file came, if it is the proxy's, as the one to report to. */
  function at(address) {
    const match = ADDRESS.exec(address || '');
    home = match ? match[1] : home;
    return api;
  }

  /** Report on a pusher-js instance until the function that is returned is called. `client` names it. */
  function watch(pusher, settings) {
    try {
      const { url = home, client = '' } = settings || {};
      if (!url || !post) {
        console.warn(url ? 'chaosproxy: there is no fetch here' : 'chaosproxy: where to report to? set url');
        return () => {};
      }
      if (!watched.has(pusher)) {
        watched.set(pusher, new Watcher(pusher.connection, new Sender(String(url).replace(/\/+$/, ''), client)));
      }
      return quietly(() => {
        const watcher = watched.get(pusher);
        watched.delete(pusher);
        if (watcher) watcher.stop();
      });
    } catch (error) {
      console.warn('chaosproxy:', error);
      return () => {};
    }
  }

  /** Set a mark: a name that will stand in the proxy's journal, at this moment, beside what the wire did. */
  function mark(name) {
    watched.forEach((watcher) => watcher.tell('mark', { detail: cut(name) }));
  }

  class Watcher {
    constructor(connection, sender) {
      this.connection = connection;
      this.sender = sender;
      this.handlers = {
        state_change: ({ previous, current }) => this.tell('state', { state: cut(current), previous: cut(previous) }),
        error: (error) => this.tell('error', { detail: cut((error && error.type) || ''), ...codeOf(error) }),
        connecting_in: (seconds) => this.tell('connecting_in', { detail: cut(seconds) }),
      };
      this.pages = {
        pagehide: () => this.leave(),
        pageshow: (event) => event.persisted && this.tellState(), // back from the browser's cache of pages
      };
      for (const [name, handler] of Object.entries(this.handlers)) {
        this.handlers[name] = quietly(handler);
        connection.bind(name, this.handlers[name]);
      }
      if (typeof addEventListener === 'function' && typeof document === 'object') {
        for (const [name, handler] of Object.entries(this.pages)) {
          this.pages[name] = quietly(handler);
          addEventListener(name, this.pages[name]);
        }
      }
      this.tellState(); // pusher-js went to `connecting` before anyone could bind
    }

    tellState() {
      this.tell('state', { state: cut(this.connection.state) });
    }

    tell(what, fields) {
      if (what === 'gone' && this.isGone) return;
      this.isGone = what === 'gone';
      this.sender.send({ what, socket_id: cut(this.connection.socket_id || ''), ...fields });
    }

    leave() {
      this.tell('gone');
      this.sender.sendLast();
    }

    stop() {
      for (const [name, handler] of Object.entries(this.handlers)) this.connection.unbind(name, handler);
      if (typeof removeEventListener === 'function') {
        for (const [name, handler] of Object.entries(this.pages)) removeEventListener(name, handler);
      }
      this.tell('gone');
    }
  }

  /** Sends reports in their order, one request at a time, until the proxy has them. */
  class Sender {
    constructor(url, client) {
      this.url = `${url}/reports`;
      this.client = cut(client, CLIENT_MAX);
      this.instance = Math.random().toString(36).slice(2, 12) || '0'; // whose numbers and whose clock these are
      this.queue = [];
      this.number = 0;
      this.failures = 0;
      this.isBusy = false;
    }

    send(report) {
      this.number += 1;
      this.queue.push({ n: this.number, ms: Math.round(clock() * 1000) / 1000, ...report });
      if (this.queue.length > QUEUE_MAX) this.queue.shift();
      if (!this.isBusy) {
        this.isBusy = true;
        Promise.resolve().then(() => this.work()); // with what else is told in this turn
      }
    }

    async work() {
      while (this.queue.length) {
        const batch = this.queue.slice(0, BATCH_MAX);
        if (await this.deliver(batch)) {
          this.failures = 0;
          this.forget(batch);
        } else {
          await pause(RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)]);
          this.failures += 1;
        }
      }
      this.isBusy = false;
    }

    /** Whether the proxy has the batch, or will never take it. */
    async deliver(batch) {
      const abort = new AbortController();
      const timer = setTimeout(() => abort.abort(), TIMEOUT_MS);
      release(timer);
      try {
        const { status } = await post(this.url, {
          method: 'POST',
          body: this.body(batch), // a string is text/plain, which needs no preflight
          mode: 'no-cors',
          credentials: 'omit',
          referrerPolicy: 'no-referrer',
          cache: 'no-store',
          keepalive: true,
          signal: abort.signal,
        });
        return status < 500 && status !== 404 && status !== 429; // in a page it is 0: it may not know
      } catch {
        return false;
      } finally {
        clearTimeout(timer);
      }
    }

    /** The page goes: hand all that may be missing to the browser. What the proxy has already, it knows by the number. */
    sendLast() {
      while (this.queue.length) {
        const batch = this.queue.slice(0, BATCH_MAX);
        if (!navigator.sendBeacon(this.url, this.body(batch))) return;
        this.forget(batch);
      }
    }

    forget(batch) {
      const last = batch[batch.length - 1].n;
      this.queue = this.queue.filter((report) => report.n > last);
    }

    body(reports) {
      return JSON.stringify({ client: this.client, instance: this.instance, reports });
    }
  }

  /** An error's code stands at one of two depths, by what went wrong and when. */
  function codeOf(error) {
    const found = [
      ['error.data.code', error && error.error && error.error.data && error.error.data.code],
      ['data.code', error && error.data && error.data.code],
    ].find(([, code]) => Number.isInteger(code));
    return found ? { path: found[0], code: found[1] } : {};
  }

  function cut(value, most = TEXT_MAX) {
    return String(value === undefined ? '' : value).slice(0, most).replace(/[\uD800-\uDBFF]$/, '');
  }

  function quietly(act) {
    return (...given) => {
      try {
        act(...given);
      } catch (error) {
        console.warn('chaosproxy:', error);
      }
    };
  }

  function pause(ms) {
    return new Promise((resolve) => { release(setTimeout(resolve, ms)); });
  }

  /** Let a timer not keep Node alive. */
  function release(timer) {
    if (timer && typeof timer.unref === 'function') timer.unref();
  }

  const api = { watch, mark: quietly(mark), at };
  return at(typeof document === 'object' && document && document.currentScript ? document.currentScript.src : '');
})();

if (typeof module === 'object' && module && module.exports) {
  module.exports.watch = globalThis.chaosproxy.watch;
  module.exports.mark = globalThis.chaosproxy.mark;
}
