// A pusher-js client as an application has it, for verbs that run a command: it finds the proxy by CHAOSPROXY_HOST and
// CHAOSPROXY_PORT, and says on stdout what becomes of its connection. PUSHER_KEY is the app's key.

import Pusher from 'pusher-js';

if (process.execArgv.includes('--experimental-websocket')) {
  Pusher.Runtime.getWebSocketAPI = () => globalThis.WebSocket; // Node's own, in place of faye-websocket
}
const { CHAOSPROXY_HOST: host, CHAOSPROXY_PORT: port, PUSHER_KEY: key = 'app-key' } = process.env;
const pusher = new Pusher(key, {
  cluster: 'none', // required, and overruled by wsHost
  wsHost: host,
  wsPort: port,
  wssPort: port,
  forceTLS: process.env.CHAOSPROXY_URL.startsWith('wss:'),
  enabledTransports: ['ws'],
});
pusher.connection.bind('state_change', ({ previous, current }) => console.log(`${previous} -> ${current}`));
pusher.connection.bind('error', (error) => console.log('error', error?.error?.data?.code ?? error?.data?.code ?? ''));
pusher.subscribe('news');
// pusher-js throws inside its own callbacks on some codes: a browser logs that and goes on, and so do we.
process.on('uncaughtException', (error) => console.log('uncaught', error));
// Once it has given up, nothing keeps Node alive; an application has something that does.
setInterval(() => {}, 60_000);
