// The same as pusher_client.mjs, in a page of a real Chromium: the same argument and `chromium`, the browser's path; the
// same commands, the same story. The page comes from a server of its own here, on 127.0.0.1.

import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { openPage } from './chromium.mjs';
import { monotonicMs, obey, settings, sign, write } from './told.mjs';

const EXIT_WAIT_MS = 1000; // for the server to answer our close; a dead connection never does

const read = (path) => readFile(new URL(path, import.meta.url));
const FILES = {
  '/': ['text/html', '<!doctype html><link rel="icon" href="data:,"><title>pusher-js</title><script src="/pusher.js"></script>'],
  '/pusher.js': ['text/javascript', await read('./node_modules/pusher-js/dist/web/pusher.js')],
  '/story.mjs': ['text/javascript', await read('./story.mjs')],
};
const server = createServer((request, response) => {
  const [type, body] = FILES[request.url] ?? [];
  response.writeHead(body ? 200 : 404, { 'Content-Type': type ?? 'text/plain' }).end(body);
});
await once(server.listen(0, '127.0.0.1'), 'listening');

const { browser, page } = await openPage(settings.chromium);
const sockets = new Set();
page.on('websocket', (socket) => {
  sockets.add(socket);
  socket.on('close', () => sockets.delete(socket));
});
await page.exposeFunction('write', write);
await page.exposeFunction('sign', sign);
await page.exposeFunction('monotonicMs', monotonicMs);
await page.goto(`http://127.0.0.1:${server.address().port}/`);
await page.evaluate(async (settings) => {
  const { begin } = await import('/story.mjs');

  // Node's clock as seen from here: the quickest of some answers, read half-way between question and answer.
  let quickest = Infinity;
  let ahead = 0;
  for (let count = 0; count < 5; count += 1) {
    const asked = performance.now();
    const answer = await window.monotonicMs();
    const took = performance.now() - asked;
    if (took < quickest) [quickest, ahead] = [took, answer - (asked + took / 2)];
  }

  const startedAt = performance.now();
  const tell = (kind, fields) =>
    window.write({ at: Math.round((performance.now() - startedAt) * 1000) / 1000, kind, ...fields });
  tell('started', { monotonic_ms: startedAt + ahead });
  window.addEventListener('error', ({ error, message }) => tell('uncaught', { error: String(error?.stack ?? message) }));
  window.addEventListener('unhandledrejection', ({ reason }) => tell('uncaught', { error: String(reason?.stack ?? reason) }));
  const reporter = settings.report && await import(`${settings.report.url}/chaosproxy.mjs`); // of another origin
  window.commands = begin(window.Pusher, settings, tell, window.sign, reporter);
}, settings);

const command = (name) => (given) => page.evaluate(([name, given]) => window.commands[name](given), [name, given]);
const names = ['connect', 'disconnect', 'subscribe', 'unsubscribe', 'trigger', 'mark'];
const commands = Object.fromEntries(names.map((name) => [name, command(name)]));
let hasLeft = false;
commands.leave = async () => {
  hasLeft = true;
  await page.goto('about:blank');
};
await obey(commands, async () => {
  if (!hasLeft) await command('disconnect')({});
  const closed = Promise.all([...sockets].map((socket) => socket.waitForEvent('close')));
  await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, EXIT_WAIT_MS).unref())]).catch(() => {});
  await browser.close();
  server.close();
});
