'use strict';
// The part of the uWebSockets.js 20.10 API that soketi uses, on node:http and ws, so that soketi's own JavaScript runs
// unchanged where the native module (published only as a Git repository) cannot be installed.
//
// It is no proof about the real uWebSockets.js. Known differences: no back-pressure accounting (maxBackpressure) and no
// 'dropped' handler; timers count single milliseconds (there: ticks of 4 s); node:http's Date header and header casing.

const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const { WebSocketServer } = require('ws');

function toArrayBuffer(value) {
  const bytes = Buffer.isBuffer(value) ? value : Buffer.from(String(value));
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
}

function pathOf(message) {
  return message.url.split('?', 1)[0];
}

// '/apps/:appId/*' -> a regular expression whose groups are the parameters, in order.
function compilePattern(pattern) {
  const segments = pattern.split('/').map((segment) => {
    if (segment === '*') return '.*';
    if (segment.startsWith(':')) return '([^/]+)';
    return segment.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  });
  return new RegExp(`^${segments.join('/')}$`);
}

class HttpRequest {
  constructor(message, parameters) {
    this._message = message;
    this._parameters = parameters;
  }
  getHeader(name) { return this._message.headers[name.toLowerCase()] ?? ''; }
  getMethod() { return this._message.method.toLowerCase(); }
  getParameter(index) { return this._parameters[index]; }
  getQuery() { return this._message.url.split('?').slice(1).join('?'); }
  getUrl() { return pathOf(this._message); }
}

// Soketi hangs its own properties (app, body, params, ...) on this object: ours start with an underscore.
class HttpResponse {
  constructor(message, response) {
    this._message = message;
    this._response = response;
    this._status = '200 OK';
    this._headers = [];
    this._ended = false;
  }
  cork(write) { write(); return this; }
  writeStatus(status) { this._status = status; return this; }
  writeHeader(name, value) { this._headers.push([name, value]); return this; }
  end(body = '', closeConnection = false) {
    if (this._ended) throw new Error('Invalid access of closed uWS.HttpResponse');
    this._ended = true;
    const [code, ...reason] = this._status.split(' ');
    this._response.statusCode = Number(code);
    this._response.statusMessage = reason.join(' ');
    for (const [name, value] of this._headers) this._response.setHeader(name, value);
    if (closeConnection) this._response.setHeader('Connection', 'close');
    this._response.end(body);
    return this;
  }
  onAborted(handler) {
    this._response?.on('close', () => { if (!this._ended) { this._ended = true; handler(); } });
    return this;
  }
  // The whole body arrives as one last chunk; soketi refuses what is longer than its httpApi.requestLimitInMb.
  onData(handler) {
    const chunks = [];
    this._message.on('data', (chunk) => chunks.push(chunk));
    this._message.on('end', () => handler(toArrayBuffer(Buffer.concat(chunks)), true));
    return this;
  }
  getRemoteAddressAsText() { return toArrayBuffer(this._message.socket.remoteAddress ?? ''); }
  getProxiedRemoteAddressAsText() { return toArrayBuffer(''); }
}

// Soketi treats this one, too, as a plain bag of properties with send() and end().
class WebSocket {
  #raw; #socket; #behavior; #closed = false; #idleTimer;

  constructor(raw, socket, userData, behavior) {
    Object.assign(this, userData);
    this.#raw = raw;
    this.#socket = socket;
    this.#behavior = behavior;
    raw.on('error', () => {}); // 'close' follows
    raw.on('message', (data, isBinary) => { if (!this.#closed) behavior.message(this, toArrayBuffer(data), isBinary); });
    raw.on('close', (code, reason) => this.#close(code, reason));
    socket.on('data', () => this.#restartIdleTimer());
    this.#restartIdleTimer();
    behavior.open(this);
  }
  send(message, isBinary = false) {
    this.#assertOpen();
    this.#raw.send(message, { binary: isBinary });
    return 1;
  }
  // As there: close frame and FIN at once, and the close handler runs before this returns.
  end(code = 1000, reason = '') {
    this.#assertOpen();
    this.#raw.close(code, reason);
    this.#socket.end();
    this.#close(code, reason);
  }
  #assertOpen() {
    if (this.#closed) throw new Error('Invalid access of closed uWS.WebSocket/SSLWebSocket.');
  }
  #close(code, reason) {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#idleTimer);
    this.#behavior.close(this, code, toArrayBuffer(reason));
  }
  // With 120 s of idleTimeout there is a ping after 104 s without bytes from the client, and the end 16 s after that.
  #restartIdleTimer() {
    if (this.#closed) return;
    const pongWaitMs = 16_000;
    clearTimeout(this.#idleTimer);
    this.#idleTimer = setTimeout(() => {
      this.#raw.ping();
      this.#idleTimer = setTimeout(() => this.#raw.terminate(), pongWaitMs);
    }, this.#behavior.idleTimeout * 1000 - pongWaitMs);
  }
}

class TemplatedApp {
  constructor(tlsOptions) {
    this._tlsOptions = tlsOptions;
    this._httpRoutes = []; // the first match wins
    this._webSocketRoutes = [];
  }
  get(pattern, handler) { return this.#route('GET', pattern, handler); }
  post(pattern, handler) { return this.#route('POST', pattern, handler); }
  any(pattern, handler) { return this.#route(null, pattern, handler); }
  ws(pattern, behavior) {
    const server = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: behavior.maxPayloadLength });
    this._webSocketRoutes.push({ path: compilePattern(pattern), behavior, server });
    return this;
  }
  listen(host, port, callback) {
    this._server = this._tlsOptions === null ? http.createServer() : https.createServer(this._tlsOptions);
    this._server.on('request', (message, response) => this.#respond(message, response));
    this._server.on('upgrade', (message, socket, head) => this.#upgrade(message, socket, head));
    this._server.listen(port, host, () => callback(this));
    return this;
  }
  #route(method, pattern, handler) {
    this._httpRoutes.push({ method, path: compilePattern(pattern), handler });
    return this;
  }
  #respond(message, response) {
    for (const { method, path, handler } of this._httpRoutes) {
      const match = (method === null || method === message.method) && path.exec(pathOf(message));
      if (match) return handler(new HttpResponse(message, response), new HttpRequest(message, match.slice(1)));
    }
    response.statusCode = 404;
    response.end();
  }
  #upgrade(message, socket, head) {
    socket.on('error', () => {}); // 'close' follows
    for (const { path, behavior, server } of this._webSocketRoutes) {
      const match = path.exec(pathOf(message));
      if (!match) continue;
      const response = new HttpResponse(message, null);
      response.upgrade = (userData) => server.handleUpgrade(message, socket, head, (raw) => {
        new WebSocket(raw, socket, userData, behavior);
      });
      return behavior.upgrade(response, new HttpRequest(message, match.slice(1)), null);
    }
    // As there: an upgrade no WebSocket route takes is an ordinary request (soketi answers 404).
    const response = new http.ServerResponse(message);
    response.assignSocket(socket);
    response.shouldKeepAlive = false;
    response.on('finish', () => socket.end());
    this.#respond(message, response);
  }
}

function readTlsOptions({ key_file_name, cert_file_name, passphrase }) {
  return { key: fs.readFileSync(key_file_name), cert: fs.readFileSync(cert_file_name), passphrase: passphrase || undefined };
}

module.exports = {
  App: () => new TemplatedApp(null),
  SSLApp: (options) => new TemplatedApp(readTlsOptions(options)),
  us_listen_socket_close: (app) => app._server.close(),
};
