// An application's back end with npm's pusher: signs channels at /auth and publishes at /trigger. One argument, JSON:
// api (the port of the HTTP API), app ({id, key, secret}). It tells its own port on stdout, and ends with its stdin.

import { createServer } from 'node:http';
import Pusher from 'pusher';

const { api, app } = JSON.parse(process.argv[2]);
const pusher = new Pusher({ appId: app.id, key: app.key, secret: app.secret, host: '127.0.0.1', port: String(api), useTLS: false });

async function read(request) {
  let body = '';
  for await (const chunk of request) body += chunk;
  return body;
}

const server = createServer(async (request, response) => {
  const body = await read(request);
  try {
    if (request.url === '/auth') {
      const form = new URLSearchParams(body);
      const [socketId, channel] = [form.get('socket_id'), form.get('channel_name')];
      const member = channel.startsWith('presence-') ? { user_id: 'ann', user_info: { name: 'ann' } } : undefined;
      response.end(JSON.stringify(pusher.authorizeChannel(socketId, channel, member)));
    } else {
      const { channel, event, data, socket_id } = JSON.parse(body);
      const answer = await pusher.trigger(channel, event, data, socket_id ? { socket_id } : {});
      response.end(JSON.stringify({ status: answer.status }));
    }
  } catch (error) {
    response.statusCode = 500;
    response.end(String(error?.stack ?? error));
  }
});
server.listen(0, '127.0.0.1', () => process.stdout.write(`${server.address().port}\n`));
process.stdin.resume().on('end', () => process.exit());
