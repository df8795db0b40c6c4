// Runs one real pusher-js client in Node and tells its story, one JSON object a line, on stdout: each with `at`,
// milliseconds since the client was made, and `kind`. pusher_client.py in the folder above is the other end, and lists
// the kinds.
//
// Started with one argument, JSON: host, port, key, secret, channels (joined at once), user (who joins presence
// channels), options (for pusher-js, over ours), and report: where chaosproxy.js is (`script`) and what it is told (`url`,
// `client`), or null to do without it. Channels are signed here, with the secret, so no HTTP endpoint is needed. On
// stdin, one JSON command a line:
//
//   {"do": "connect"}   {"do": "subscribe", "channel": c}     {"do": "trigger", "channel": c, "event": e, "data": d}
//   {"do": "disconnect"}   {"do": "unsubscribe", "channel": c}   {"do": "exit"}, or the end of stdin
//   {"do": "mark", "name": n}
//
// pusher-js in Node always takes its own WebSocket (faye-websocket). With `node --experimental-websocket` Node has one
// too (undici's), and pusher-js is given that.

import Pusher from 'pusher-js';
import { begin } from './story.mjs';
import { obey, settings, sign, startTelling } from './told.mjs';

const EXIT_WAIT_MS = 1000; // for the server to answer our close; a dead connection never does

if (process.execArgv.includes('--experimental-websocket')) {
  Pusher.Runtime.getWebSocketAPI = () => globalThis.WebSocket;
}

const tell = startTelling();
// pusher-js throws inside its own callbacks on some broken frames: a browser logs that and goes on, and so do we.
process.on('uncaughtException', (error) => tell('uncaught', { error: String(error?.stack ?? error) }));

const reporter = settings.report && await import(settings.report.script);
const commands = begin(Pusher, settings, tell, sign, reporter);
await obey(commands, () => {
  commands.disconnect();
  setTimeout(() => process.exit(), EXIT_WAIT_MS).unref(); // sooner if nothing else is left to wait for
});
