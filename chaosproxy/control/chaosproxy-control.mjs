// Steers a running chaosproxy from a test: a session (a port with a profile, clients and a verdict of its own) for each.
//
//   import { connect } from './chaosproxy-control.mjs'; // in CommonJS: require('./chaosproxy-control.cjs')
//   const chaos = await connect(process.env.CHAOSPROXY_CONTROL);
//   const session = await chaos.session({ profile: { version: 1, protocol: 'pusher' }, expect: [{ marked: 'banner' }] });
//   … point the app at session.host and session.port …
//   await session.waitFor('subscribed');
//   const outage = await session.fault({ half_open: {} });
//   … see how the app takes it …
//   await session.mark('banner');
//   await outage.heal();
//   const { passed, rows } = await session.close();
//
// For require() the proxy serves it as chaosproxy-control.cjs, with another last line; the types are the same.

/** The proxy refuses, or what was waited for did not come. The message has all problems that it told. */
class ChaosError extends Error {
  constructor(status, answer) {
    const places = (each) => (each.line ? `${each.source}:${each.line}:${each.column}: ` : '');
    const problems = (answer.problems || []).map((each) => `\n  ${places(each)}${each.path}: ${each.message}`);
    super(`chaosproxy: ${answer.error || `HTTP ${status}`}${problems.join('')}`);
    this.name = 'ChaosError';
    this.status = status;
    this.answer = answer;
    this.problems = answer.problems || [];
  }
}

/** What can be done to a proxy, and seen of it: to that of `run`, or to a session. */
class Proxy {
  constructor(ask, base) {
    this.ask = (method, path, body) => ask(method, base + path, body);
  }

  /** Go to the next phase, or to the one that is named. */
  step(phase) {
    return phase === undefined ? this.ask('POST', '/phase/next', {}) : this.ask('POST', '/phase', { phase });
  }

  /** Let neither time nor what happens end the phase; its rules act on, and one can step. */
  pause() {
    return this.ask('POST', '/phase/pause', {});
  }

  /** Let the phase go on where it was paused. */
  resume() {
    return this.ask('POST', '/phase/resume', {});
  }

  /** All phases of the profile, and which one is in force. */
  phases() {
    return this.ask('GET', '/phases');
  }

  /** Heal what was added, and play the profile anew, from before its start; connections live on. */
  reset() {
    return this.ask('POST', '/reset', {});
  }

  /** Play another profile: by its name, or a whole one; with { seed, starts, expect } beside it. */
  play(profile, order = {}) {
    return this.ask('POST', '/profile', { ...order, profile });
  }

  /**
   * Add a rule, as in a profile; it is in force when this returns, for a time such as '5s' or until it is healed,
   * on all connections or on those of the attempts that are named.
   */
  async fault(rule, { lasts, connections } = {}) {
    const added = await this.ask('POST', '/rules', { rule, lasts, connections });
    return { ...added, heal: () => this.ask('DELETE', `/rules/${encodeURIComponent(added.id)}`, {}) };
  }

  /**
   * End all rules that were added. Or, on the connections that are named (an attempt's number, what they match, or
   * 'all', which is those that come as well), whatever was added and whatever keeps them from carrying anything.
   */
  heal(which) {
    return which === undefined ? this.ask('DELETE', '/rules', {}) : this.#act('heal', which);
  }

  /** The connections there are; with a match, such as { client, path, state, silent, older_than }, those. */
  async connections(match = {}) {
    const { connections } = await this.ask('GET', `/connections?${new URLSearchParams(match)}`);
    return connections;
  }

  /** Let connections fall silent, with { leg, mode, heal, lasts }; which ones, as with `heal`. */
  async freeze(which, options = {}) {
    const frozen = await this.#act('freeze', which, options);
    const rule = frozen.rule && `/rules/${encodeURIComponent(frozen.rule)}`;
    return { ...frozen, heal: async () => (rule ? this.ask('DELETE', rule, {}) : { healed: [] }) };
  }

  /** End connections by a close frame, with { code, reason }; which ones, as with `heal`. */
  closeConnections(which, options = {}) {
    return this.#act('close', which, options);
  }

  /** End connections by RST; which ones, as with `heal`. */
  resetConnections(which) {
    return this.#act('reset', which);
  }

  async #act(verb, which, options = {}) {
    if (typeof which === 'number') {
      const { attempt, ...told } = await this.ask('POST', `/connections/${which}/${verb}`, options);
      return { attempts: [attempt], ...told };
    }
    const chosen = which === 'all' ? { all: true } : { match: which };
    return this.ask('POST', `/connections/${verb}`, { ...options, ...chosen });
  }

  /** Wait until it holds: opened, closed, established, subscribed, phase:NAME, struck:FAULT, state:NAME, mark:NAME, verdict. */
  waitFor(what, { count, timeout } = {}) {
    const query = new URLSearchParams({ for: what });
    if (count !== undefined) query.set('count', String(count));
    if (timeout !== undefined) query.set('timeout', typeof timeout === 'number' ? `${timeout}ms` : timeout);
    return this.ask('GET', `/wait?${query}`);
  }

  /** Set a mark: a name that stands in the journal at this moment, for `marked` to be judged by. */
  async mark(name, { client } = {}) {
    await this.ask('POST', '/marks', { name, client });
  }

  /** How it stands, row by row, with the evidence. */
  verdict() {
    return this.ask('GET', '/verdict');
  }

  state() {
    return this.ask('GET', '/state');
  }
}

class Session extends Proxy {
  constructor(ask, told, control) {
    super(ask, told.control);
    this.id = told.id;
    this.url = told.url;
    this.host = told.host;
    this.port = told.port;
    this.scriptUrl = control + told.client_script;
    this.reportUrl = control + told.client_reports;
  }

  /** End the session: it answers with the last verdict, in which what is still open has failed. */
  close() {
    return this.ask('DELETE', '', {});
  }
}

/** Talk to the control address of a running chaosproxy. It throws where nobody answers, or the token is another. */
async function connect(address, { token } = {}) {
  if (!address) throw new TypeError('connect: which control address? For example http://127.0.0.1:7002');
  const control = (String(address).includes('://') ? '' : 'http://') + String(address).replace(/\/+$/, '');
  const headers = { 'Content-Type': 'application/json', ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  const ask = async (method, path, body) => {
    const answer = await fetch(control + path, { method, headers, body: body && JSON.stringify(body) }).catch((error) => {
      throw new ChaosError(0, { error: `nobody answers at ${control}: ${(error.cause || error).message}` });
    });
    const told = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new ChaosError(answer.status, told);
    return told;
  };
  await ask('GET', '/api/sessions');
  return {
    proxy: new Proxy(ask, '/api'),
    session: async (order = {}) => new Session(ask, await ask('POST', '/api/sessions', order), control),
  };
}

export { ChaosError, connect };
