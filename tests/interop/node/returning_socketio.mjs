// A socket.io client as an application has it, for `verify`: it finds the proxy by CHAOSPROXY_HOST and CHAOSPROXY_PORT,
// and comes back for ever. Its back-off is its own, drawn by chance, on a scale shorter by five than by default.

import { io } from 'socket.io-client';

const { CHAOSPROXY_HOST: host, CHAOSPROXY_PORT: port } = process.env;
const socket = io(`http://${host}:${port}`, {
  transports: ['websocket'], reconnectionDelay: 200, reconnectionDelayMax: 1000,
});
socket.on('connect', () => console.log('connected'));
socket.on('disconnect', (reason) => console.log('disconnected:', reason));
socket.on('connect_error', (error) => console.log('error:', error.message));
