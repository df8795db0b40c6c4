// Runs chaosproxy.js as a page does, in a context of its own that has what a browser's has, and tells what came of it as
// one line of JSON. Arguments: the scenario, and the script's URL.
//
//   page      the script comes from its URL, watches a real pusher-js on `port`, and the page is left
//   module    the module comes from its URL; what it exports
//   away      a server that takes nothing at first, and more changes than the script keeps; what arrives in the end
//   harmless  what an app may pass or a library may emit; what the script threw

import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import vm from 'node:vm';
import Pusher from 'pusher-js';

const [scenario, address, port] = process.argv.slice(2);
const beacons = [];
const listeners = {};
const warnings = [];

/** Run the script in a fresh page, as if it had come from `src`; return the page. */
function load(source, src) {
  const page = {
    document: { currentScript: { src } },
    navigator: { sendBeacon: (url, body) => beacons.push({ url, body }) },
    addEventListener: (name, handler) => { (listeners[name] ??= new Set()).add(handler); },
    removeEventListener: (name, handler) => listeners[name].delete(handler),
    console: { warn: (...said) => warnings.push(said.map(String).join(' ')) },
    fetch, performance, setTimeout, clearTimeout, AbortController,
  };
  vm.runInContext(source, vm.createContext(page), { filename: 'chaosproxy.js' });
  return page;
}

/** A connection as pusher-js has one, to be driven by hand. */
function fakeConnection() {
  const bound = [];
  return {
    state: 'connecting',
    bind: (name, handler) => bound.push({ name, handler }),
    unbind: (name, handler) => bound.splice(bound.findIndex((each) => each.handler === handler && each.name === name), 1),
    emit: (name, data) => bound.filter((each) => each.name === name).forEach((each) => each.handler(data)),
    bound,
  };
}

const scenarios = {
  async page() {
    const page = load(await (await fetch(address)).text(), address);
    const pusher = new Pusher('app-key', {
      cluster: 'none', wsHost: '127.0.0.1', wsPort: Number(port), forceTLS: false, enabledTransports: ['ws'],
    });
    const stop = page.chaosproxy.watch(pusher, { client: 'anna' });
    page.chaosproxy.watch(pusher, { client: 'anna' }); // as a component that is mounted twice
    await new Promise((resolve) => { pusher.connection.bind('connected', resolve); });
    page.chaosproxy.mark('it is green');
    listeners.pagehide.forEach((handler) => handler({}));
    const posted = await Promise.all(beacons.map(({ url, body }) => fetch(url, { method: 'POST', body })));
    stop();
    pusher.disconnect();
    return {
      beacons: beacons.map(({ url, body }) => ({ url, reports: JSON.parse(body).reports.map(({ what }) => what) })),
      statuses: posted.map(({ status }) => status),
      listening: Object.values(listeners).reduce((sum, each) => sum + each.size, 0),
      global: Object.keys(page).filter((name) => name.startsWith('chaos')),
    };
  },

  async module() {
    const source = await (await fetch(address)).text();
    const module = await import(`data:text/javascript,${encodeURIComponent(source)}`);
    return { exports: Object.keys(module).sort(), isFunction: typeof module.watch === 'function' };
  },

  async away() {
    const bodies = [];
    let refusals = 0;
    const server = createServer(async (request, response) => {
      let text = '';
      for await (const chunk of request) text += chunk;
      if (bodies.length === 1 && refusals < 2) {
        refusals += 1;
        return refusals === 1 ? request.socket.destroy() : response.writeHead(429).end();
      }
      bodies.push({ type: request.headers['content-type'], ...JSON.parse(text) });
      return response.writeHead(204).end();
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const base = `http://127.0.0.1:${server.address().port}/client/t`;
    const page = load(await readFile(new URL(address), 'utf8'), `${base}/chaosproxy.js`);
    const connection = fakeConnection();
    page.chaosproxy.watch({ connection }, { client: 'anna' });
    while (bodies.length === 0) await new Promise((resolve) => { setTimeout(resolve, 1); });
    for (let n = 0; n < 300; n += 1) connection.emit('state_change', { previous: 'a', current: `s${n}` });
    const last = () => bodies.at(-1).reports.at(-1).n;
    while (last() < 301) await new Promise((resolve) => { setTimeout(resolve, 1); });
    server.close();
    server.closeAllConnections();
    return {
      refusals,
      types: [...new Set(bodies.map(({ type }) => type))],
      instances: new Set(bodies.map(({ instance }) => instance)).size,
      reports: bodies.flatMap(({ reports }) => reports.map(({ n, ms, state }) => ({ n, ms, state }))),
    };
  },

  async harmless() {
    const thrown = [];
    const attempt = (name, act) => {
      try {
        act();
      } catch (error) {
        thrown.push(`${name}: ${error}`);
      }
    };
    const source = await readFile(new URL(address), 'utf8');
    const page = load(source, 'http://elsewhere.example/chaosproxy.js');
    attempt('nowhere to report to', () => page.chaosproxy.watch({ connection: fakeConnection() })());
    for (const pusher of [undefined, null, {}, { connection: {} }]) {
      attempt('no pusher', () => page.chaosproxy.watch(pusher, { url: 'http://127.0.0.1:9' })());
    }
    attempt('no settings', () => page.chaosproxy.watch({ connection: fakeConnection() }, null)());
    const connection = fakeConnection();
    let stop = () => {};
    attempt('a dead address', () => { stop = page.chaosproxy.watch({ connection }, { url: 'http://127.0.0.1:9/client/t/' }); });
    const hostile = { get type() { throw new Error('a getter'); }, toString() { throw new Error('no text'); } };
    for (const name of ['state_change', 'error', 'connecting_in']) {
      for (const data of [undefined, null, 1, 'x', {}, hostile, { error: { data: null } }, '\ud83d'.repeat(100)]) {
        attempt(name, () => connection.emit(name, data));
      }
    }
    for (const name of [undefined, null, hostile, 'x'.repeat(10_000)]) attempt('mark', () => page.chaosproxy.mark(name));
    attempt('pagehide', () => listeners.pagehide.forEach((handler) => handler({})));
    attempt('stop', stop);
    attempt('stop twice', stop);
    const noFetch = vm.createContext({ console: { warn: () => {} }, setTimeout, clearTimeout });
    attempt('no fetch', () => {
      vm.runInContext(source, noFetch);
      noFetch.chaosproxy.watch({ connection: fakeConnection() }, { url: 'http://127.0.0.1:9' })();
    });
    return { thrown, bound: connection.bound.length, warnings: warnings.length > 0 };
  },
};

const told = await scenarios[scenario]();
process.stdout.write(`${JSON.stringify(told)}\n`);
