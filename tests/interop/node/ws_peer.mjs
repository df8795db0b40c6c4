// One side of compressed conversations, by npm's `ws`; tests/interop/test_compression.py is the other, with a proxy
// between. It takes one argument, JSON: count, the messages that each side says, and either `url` and `offers` (a
// client: one connection after the other, each offering its compression) or `accepts` (a server: its port is the first
// line of its output; it ends with stdin).
//
// Each side says all its messages, then pings: the pong tells that all of them have come through, or never will. The
// client closes when it has its pong and the other side's ping. The output's last line is JSON: for each connection the
// extensions that were agreed, what was heard, and the close code or error.

import { once } from 'node:events';
import { WebSocket, WebSocketServer } from 'ws';

const settings = JSON.parse(process.argv[2]);
const heard = [];
const over = [];

// The same as in test_compression.py: of different lengths, and much alike.
const message = (n) => `${n}:${'alpha beta gamma '.repeat((n * 7) % 5)}${'x'.repeat((n * n) % 300)}`;

function say(socket) {
  for (let n = 0; n < settings.count; n += 1) {
    const text = message(n);
    if (n % 4 === 3) {
      socket.send(text.slice(0, text.length / 2), { fin: false });
      socket.send(text.slice(text.length / 2), { fin: true });
    } else {
      socket.send(text);
    }
  }
  socket.ping();
}

function listen(socket) {
  const conversation = { extensions: '', messages: [], end: null };
  heard.push(conversation);
  socket.on('open', () => { conversation.extensions = socket.extensions; });
  socket.on('message', (data) => conversation.messages.push(data.toString()));
  socket.on('error', (error) => { conversation.end = String(error); });
  over.push(new Promise((resolve) => {
    socket.on('close', (code) => {
      conversation.end ??= code;
      resolve();
    });
  }));
  return conversation;
}

async function converse(url, offer) {
  const socket = new WebSocket(url, { perMessageDeflate: { threshold: 0, ...offer } });
  listen(socket);
  const isOver = over.at(-1);
  const isHeard = Promise.all([once(socket, 'pong'), once(socket, 'ping')]).catch(() => {}); // an error is told already
  socket.on('open', () => say(socket));
  await Promise.race([isHeard, isOver]);
  socket.close(1000);
  await isOver;
}

if (settings.url) {
  for (const offer of settings.offers) {
    await converse(settings.url, offer);
  }
} else {
  const perMessageDeflate = { threshold: 0, ...settings.accepts };
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate });
  server.on('connection', (socket) => {
    listen(socket).extensions = socket.extensions;
    say(socket);
  });
  await once(server, 'listening');
  process.stdout.write(`${server.address().port}\n`);
  process.stdin.resume();
  await once(process.stdin, 'end');
  server.close();
  await Promise.all(over);
}
process.stdout.write(`${JSON.stringify(heard)}\n`);
