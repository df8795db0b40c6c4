// laravel-echo on top of pusher-js, telling its story in JSON lines as pusher_client.mjs does. One argument, JSON: host,
// port, key, auth (the URL of the endpoint that signs), options. It ends with its stdin.

import Echo from 'laravel-echo';
import Pusher from 'pusher-js';

const { host, port, key, auth, options } = JSON.parse(process.argv[2]);
const tell = (kind, fields) => process.stdout.write(`${JSON.stringify({ kind, ...fields })}\n`);

const pusher = new Pusher(key, {
  cluster: 'none', wsHost: host, wsPort: port, forceTLS: false, enabledTransports: ['ws'],
  channelAuthorization: { endpoint: auth, transport: 'ajax' },
  ...options,
});
pusher.connection.bind('state_change', ({ previous, current }) => tell('state', { previous, current }));
const echo = new Echo({ broadcaster: 'pusher', key, client: pusher });
echo.private('orders')
  .subscribed(() => tell('subscribed', { socket_id: echo.socketId() }))
  .listen('.shipped', (data) => tell('message', { data }));

process.stdin.resume().on('end', () => {
  echo.disconnect();
  process.exit();
});
