// A small Pusher client that is to get over outages. It ends by itself once it is back and has had a moment's peace;
// RETURNS is how often it has to come back before, 1 by default.
//
//   chaosproxy verify brief-interruption --upstream ws://localhost:6001 -- node client.js
//
// PUSHER_KEY is the app's key, PUSHER_OPTIONS are options of pusher-js as JSON. FORGETS=channels is a bug to be found:
// the client then leaves its channel when it loses its connection, and never joins it again.

const Pusher = require('pusher-js');

const CHANNEL = 'news';
const PEACE_MS = 2000;
const RETURNS = Number(process.env.RETURNS || 1);

const pusher = new Pusher(process.env.PUSHER_KEY || 'app-key', {
  wsHost: process.env.CHAOSPROXY_HOST,
  wsPort: Number(process.env.CHAOSPROXY_PORT),
  forceTLS: false,
  enabledTransports: ['ws'],
  cluster: 'none',
  ...JSON.parse(process.env.PUSHER_OPTIONS || '{}'),
});
pusher.subscribe(CHANNEL);

let timesConnected = 0;
pusher.connection.bind('state_change', ({ previous, current }) => {
  console.log(`client: ${previous} -> ${current}`);
  if (process.env.FORGETS === 'channels' && previous === 'connected') pusher.unsubscribe(CHANNEL);
  if (current === 'connected' && timesConnected++ === RETURNS) setTimeout(leave, PEACE_MS);
});
pusher.connection.bind('error', () => {}); // an error ends no client: what follows is a change of state

function leave() {
  pusher.disconnect();
  setTimeout(() => process.exit(0), 200);
}
