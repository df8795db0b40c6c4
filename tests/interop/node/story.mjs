// The story of one pusher-js client, the same in Node and in a page: pusher_client.mjs and browser_client.mjs give it
// what is different there. It imports nothing, so that a page can load it as it is.

// The code hides at one of two depths, by what went wrong and when; an application must look at both.
function findCode(error) {
  if (error?.error?.data?.code !== undefined) return { path: 'error.data.code', ...error.error.data };
  if (error?.data?.code !== undefined) return { path: 'data.code', ...error.data };
  return { path: null, code: null };
}

// Makes the client, which dials at once, tells each event by `tell(kind, fields)`, and returns the commands it obeys.
// `sign` gets what is to be signed with the app's secret and gives the signature in hex, or a promise of it.
// `reporter` is what chaosproxy.js exports, or null.
export function begin(Pusher, settings, tell, sign, reporter) {
  async function authorize({ socketId, channelName }, callback) {
    const signed = [socketId, channelName];
    const answer = {};
    if (channelName.startsWith('presence-')) {
      answer.channel_data = JSON.stringify({ user_id: settings.user.id, user_info: settings.user.info });
      signed.push(answer.channel_data);
    }
    answer.auth = `${settings.key}:${await sign(signed.join(':'))}`;
    callback(null, answer);
  }

  function subscribe(channelName) {
    const channel = pusher.subscribe(channelName);
    channel.unbind_global(); // the same object comes back when a channel is subscribed again
    channel.bind_global((event, data) => {
      if (event === 'pusher:subscription_succeeded') {
        const members = channelName.startsWith('presence-') ? { members: Object.keys(data.members) } : {};
        tell('subscribed', { channel: channelName, socket_id: pusher.connection.socket_id, ...members });
      } else if (event === 'pusher:subscription_error') {
        const { type, error, status } = data;
        tell('subscription_error', { channel: channelName, type, error, status: status ?? null });
      } else {
        tell('message', { channel: channelName, event, data: data ?? null });
      }
    });
  }

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

  return {
    connect: () => pusher.connect(),
    disconnect: () => pusher.disconnect(),
    subscribe: ({ channel }) => subscribe(channel),
    unsubscribe: ({ channel }) => pusher.unsubscribe(channel),
    trigger: ({ channel, event, data }) =>
      tell('triggered', { channel, event, sent: pusher.channel(channel).trigger(event, data) }),
    mark: ({ name }) => reporter.mark(name),
  };
}
