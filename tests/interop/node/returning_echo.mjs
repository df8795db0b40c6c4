// laravel-echo on pusher-js as an application has it, for `verify`: two channels, one of which needs a signature. It finds
// the proxy by CHAOSPROXY_HOST and CHAOSPROXY_PORT, and ends by itself once it has been back for a moment.

import { createHmac } from 'node:crypto';
import Echo from 'laravel-echo';
import Pusher from 'pusher-js';

const PEACE_MS = 2000;
const { CHAOSPROXY_HOST: host, CHAOSPROXY_PORT: port, PUSHER_KEY: key, PUSHER_SECRET: secret } = process.env;
const sign = (text) => `${key}:${createHmac('sha256', secret).update(text).digest('hex')}`;

const pusher = new Pusher(key, {
  cluster: 'none', wsHost: host, wsPort: port, forceTLS: false, enabledTransports: ['ws'],
  channelAuthorization: {
    customHandler: ({ socketId, channelName }, answer) => answer(null, { auth: sign(`${socketId}:${channelName}`) }),
  },
});
const echo = new Echo({ broadcaster: 'pusher', key, client: pusher });
echo.channel('news').listen('.told', () => {});
echo.private('orders').listen('.shipped', () => {});

let timesConnected = 0;
pusher.connection.bind('error', () => {});
pusher.connection.bind('connected', () => {
  if (++timesConnected === 2) setTimeout(() => {
    echo.disconnect();
    setTimeout(() => process.exit(0), 200);
  }, PEACE_MS);
});
