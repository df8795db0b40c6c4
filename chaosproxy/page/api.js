'use strict';
// Asking the control API, with the token if there is one, and its refusals in words.

const TOKEN_KEY = 'chaosproxy-token';
const TIMEOUT_MS = 10_000;

class Refusal extends Error {
  constructor(status, told) {
    const problems = (told && told.problems) || [];
    super([told && told.error ? told.error : `the answer was ${status}`,
      ...problems.map((each) => (each.path ? `${each.path}: ${each.message}` : each.message))].join('; '));
    this.status = status;
  }
}

class Api {
  constructor() {
    this.base = '/api';
    this.token = this.takeToken();
  }

  /** The token of the address's fragment, which no server is sent; it is not left there to be seen or shared. */
  takeToken() {
    const given = new URLSearchParams(location.hash.slice(1)).get('token');
    if (given !== null) {
      this.keep(given);
      history.replaceState(null, '', location.pathname + location.search);
    }
    return given || this.kept();
  }

  kept() {
    try {
      return sessionStorage.getItem(TOKEN_KEY) || '';
    } catch {
      return ''; // a browser may forbid storage
    }
  }

  keep(token) {
    this.token = token;
    try {
      sessionStorage.setItem(TOKEN_KEY, token);
    } catch {
      // then it is asked for again after a reload
    }
  }

  /** Ask for a path below the stage's address, or for one that begins with /api; return what was answered. */
  async ask(method, path, body, signal) {
    const response = await this.send(method, path, body, signal);
    const isJson = (response.headers.get('Content-Type') || '').startsWith('application/json');
    const told = isJson ? await response.json().catch(() => null) : null;
    if (!response.ok) throw new Refusal(response.status, told);
    return told;
  }

  async send(method, path, body, signal) {
    const headers = this.token ? { Authorization: `Bearer ${this.token}` } : {};
    if (method !== 'GET') headers['Content-Type'] = 'application/json';
    const signals = [AbortSignal.timeout(TIMEOUT_MS), signal].filter(Boolean);
    return fetch(path.startsWith('/api') ? path : this.base + path, {
      method,
      headers,
      body: method === 'GET' ? undefined : JSON.stringify(body || {}),
      signal: AbortSignal.any ? AbortSignal.any(signals) : signals[signals.length - 1],
      cache: 'no-store',
      credentials: 'omit',
    });
  }

  /** Save an answer as a file, under the name that it has itself if it has one. */
  async download(path, name) {
    const response = await this.send('GET', path);
    if (!response.ok) throw new Refusal(response.status, await response.json().catch(() => null));
    const said = /filename="?([\w.-]+)"?/.exec(response.headers.get('Content-Disposition') || '');
    const url = URL.createObjectURL(await response.blob());
    el('a', { href: url, download: said ? said[1] : name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }
}
