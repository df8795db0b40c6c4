// Runs one real pusher-js client and tells its story, one JSON object a line, on stdout: each with `at`, milliseconds
// since the client was made, and `kind`. pusher_client.py beside this folder is the other end, and lists the kinds.
//
// Started with one argument, JSON: host, port, key, secret, channels (joined at once), user (who joins presence
// channels), options (for pusher-js, over ours), and report: where chaosproxy.js is (`script`) and what it is told (`url`,
// `client`), or null to do without it. Channels are signed here, with the secret, so no HTTP endpoint is
// needed. On stdin, one JSON command a line:
//
//   {"do": "connect"}   {"do": "subscribe", "channel": c}     {"do": "trigger", "channel": c, "event": e, "data": d}
//   {"do": "disconnect"}   {"do": "unsubscribe", "channel": c}   {"do": "exit"}, or the end of stdin
//   {"do": "mark", "name": n}

import { createHmac } from 'node:crypto';
import { createInterface } from 'node:readline';
import Pusher from 'pusher-js';

const EXIT_WAIT_MS = 1000; // for the server to answer our close; a dead connection never does
const settings = JSON.parse(process.argv[2]);
const monotonicMs = () => Number(process.hrtime.bigint() / 1000n) / 1000; // the clock of Python's time.monotonic
const startedAt = monotonicMs();

function tell(kind, fields) {
  const at = Math.round((monotonicMs() - startedAt) * 1000) / 1000;
  process.stdout.write(`${JSON.stringify({ at, kind, ...fields })}\n`);
}

// pusher-js throws inside its own callbacks on some broken frames: a browser logs that and goes on, and so do we.
process.on('uncaughtException', (error) => tell('uncaught', { error: String(error?.stack ?? error) }));

function authorize({ socketId, channelName }, callback) {
  const signed = [socketId, channelName];
  const answer = {};
  if (channelName.startsWith('presence-')) {
    answer.channel_data = JSON.stringify({ user_id: settings.user.id, user_info: settings.user.info });
    signed.push(answer.channel_data);
  }
  answer.auth = `${settings.key}:${createHmac('sha256', settings.secret).update(signed.join(':')).digest('hex')}`;
  callback(null, answer);
}

// The code hides at one of two depths, by what went wrong and when; an application must look at both.
function findCode(error) {
  if (error?.error?.data?.code !== undefined) return { path: 'error.data.code', ...error.error.data };
  if (error?.data?.code !== undefined) return { path: 'data.code', ...error.data };
  return { path: null, code: null };
}

function subscribe(channelName) {
  const channel = pusher.subscribe(channelName);
  channel.unbind_global(); // the same object comes back when a channel is subscribed again
  channel.bind_global((event, data) => {
    if (event === 'pusher:subscription_succeeded') {
      const members = channelName.startsWith('presence-') ? { members: Object.keys(data.members) } : {};
      tell('subscribed', { channel: channelName, socket_id: pusher.connection.socket_id, ...members });
    } else if (event === 'pusher:subscription_error') {
      tell('subscription_error', { channel: channelName, type: data.type, error: data.error, status: data.status ?? null });
    } else {
      tell('message', { channel: channelName, event, data: data ?? null });
    }
  });
}

const commands = {
  connect: () => pusher.connect(),
  disconnect: () => pusher.disconnect(),
  subscribe: ({ channel }) => subscribe(channel),
  unsubscribe: ({ channel }) => pusher.unsubscribe(channel),
  trigger: ({ channel, event, data }) =>
    tell('triggered', { channel, event, sent: pusher.channel(channel).trigger(event, data) }),
  mark: ({ name }) => reporter.mark(name),
  exit: () => stdin.close(),
};

const reporter = settings.report && await import(settings.report.script);

tell('started', { monotonic_ms: startedAt });
const pusher = new Pusher(settings.key, {
  cluster: 'none', // required, and overruled by wsHost
  wsHost: settings.host,
  wsPort: settings.port,
  wssPort: settings.port,
  forceTLS: false,
  enabledTransports: ['ws'],
  channelAuthorization: { customHandler: authorize },
  ...settings.options,
});
const connection = pusher.connection;
reporter?.watch(pusher, settings.report);

// The constructor has already gone to `connecting` before anyone could bind.
tell('state', { previous: null, current: connection.state, socket_id: null });
connection.bind('state_change', ({ previous, current }) =>
  tell('state', { previous, current, socket_id: connection.socket_id ?? null }));
connection.bind('error', (error) => {
  const { path, code, message } = findCode(error);
  tell('error', { type: error?.type ?? null, path, code, message: message ?? null });
});
connection.bind('connecting_in', (seconds) => tell('connecting_in', { seconds }));
settings.channels.forEach(subscribe);

const stdin = createInterface({ input: process.stdin });
stdin.on('line', (line) => {
  const command = JSON.parse(line);
  commands[command.do](command);
});
stdin.on('close', () => {
  process.stdin.destroy();
  pusher.disconnect();
  setTimeout(() => process.exit(), EXIT_WAIT_MS).unref(); // sooner if nothing else is left to wait for
});
