import Pusher, { type Channel } from 'pusher-js';

const env = import.meta.env;

// One connection for the whole application: modules are evaluated once, however many components import them.
export const pusher = new Pusher(env.VITE_PUSHER_KEY, {
  cluster: 'none', // required, and overruled by wsHost
  wsHost: env.VITE_PUSHER_HOST,
  wsPort: Number(env.VITE_PUSHER_PORT),
  wssPort: Number(env.VITE_PUSHER_PORT),
  forceTLS: false, // true in production
  enabledTransports: ['ws'],
  channelAuthorization: { endpoint: env.VITE_PUSHER_AUTH, transport: 'ajax' },
  activityTimeout: Number(env.VITE_PUSHER_ACTIVITY_TIMEOUT),
  pongTimeout: Number(env.VITE_PUSHER_PONG_TIMEOUT),
  unavailableTimeout: Number(env.VITE_PUSHER_UNAVAILABLE_TIMEOUT),
});

const users = new Map<string, number>();

// pusher.unsubscribe(name) ends the channel for everybody, so the last one who uses it must be the one to call it.
export function join(name: string): Channel {
  users.set(name, (users.get(name) ?? 0) + 1);
  return pusher.subscribe(name); // the same channel, and no second frame, where it is subscribed already
}

export function leave(name: string): void {
  const left = (users.get(name) ?? 1) - 1;
  if (left > 0) {
    users.set(name, left);
  } else {
    users.delete(name);
    pusher.unsubscribe(name);
  }
}
