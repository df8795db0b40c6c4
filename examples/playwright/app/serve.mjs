// The page and pusher-js, on http://127.0.0.1:PORT.

import { createReadStream } from 'node:fs';
import { createServer } from 'node:http';

const FILES = {
  '/': ['text/html', new URL('index.html', import.meta.url)],
  '/pusher.js': ['text/javascript', new URL('../node_modules/pusher-js/dist/web/pusher.js', import.meta.url)],
};

createServer((request, response) => {
  const [type, file] = FILES[request.url.split('?')[0]] ?? [];
  response.writeHead(file ? 200 : 404, { 'Content-Type': type ?? 'text/plain' });
  if (file) createReadStream(file).pipe(response);
  else response.end();
}).listen(Number(process.env.PORT ?? 4173), '127.0.0.1');
