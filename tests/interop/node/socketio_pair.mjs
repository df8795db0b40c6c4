// socket.io's server, or its client, in its default way: it begins with long polling and then upgrades to a WebSocket, or
// polls all along. One argument, JSON: {"serve": true}, or {"port": p, "transports": [...]}. Events are JSON lines.

import { Server } from 'socket.io';
import { io } from 'socket.io-client';

const settings = JSON.parse(process.argv[2]);
const tell = (kind, fields) => process.stdout.write(`${JSON.stringify({ kind, ...fields })}\n`);

if (settings.serve) {
  const { createServer } = await import('node:http');
  const http = createServer();
  const server = new Server(http);
  server.on('connection', (socket) => {
    socket.on('say', (text, answer) => answer(`${text}!`));
    socket.on('disconnect', (reason) => tell('gone', { reason }));
  });
  http.listen(0, '127.0.0.1', () => tell('listening', { port: http.address().port }));
} else {
  const socket = io(`http://127.0.0.1:${settings.port}`, { transports: settings.transports, reconnectionDelay: 200 });
  const say = async () => tell('answer', { text: await socket.timeout(10000).emitWithAck('say', 'hello') });
  // The upgrade may be through before the first answer to a poll has made us connected.
  socket.io.on('open', () => {
    tell('open', { transport: socket.io.engine.transport.name });
    socket.io.engine.once('upgrade', (transport) => {
      tell('upgrade', { transport: transport.name });
      say();
    });
  });
  socket.on('connect', () => {
    tell('connect');
    say();
  });
  socket.on('disconnect', (reason) => tell('disconnect', { reason }));
  socket.on('connect_error', (error) => tell('connect_error', { message: error.message }));
}
process.stdin.resume().on('end', () => process.exit());
