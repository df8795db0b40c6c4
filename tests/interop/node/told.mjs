// How a driver and its Python side talk: the driver's one argument is JSON, it tells one JSON object a line on stdout,
// and is told one JSON command a line on stdin. driver.py in the folder above is the other end.

import { createHmac } from 'node:crypto';
import { createInterface } from 'node:readline';

export const settings = JSON.parse(process.argv[2]);

// Milliseconds of the clock that Python's time.monotonic reads.
export const monotonicMs = () => Number(process.hrtime.bigint() / 1000n) / 1000;

export function write(event) {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

// Returns a `tell` whose events carry `at`, in milliseconds from now on.
export function startTelling() {
  const startedAt = monotonicMs();
  const tell = (kind, fields) => write({ at: Math.round((monotonicMs() - startedAt) * 1000) / 1000, kind, ...fields });
  tell('started', { monotonic_ms: startedAt });
  return tell;
}

export const sign = (text) => createHmac('sha256', settings.secret).update(text).digest('hex');

// Obeys until {"do": "exit"} or the end of stdin, one command after the other, then calls `end`.
export async function obey(commands, end) {
  for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    if (command.do === 'exit') break;
    await commands[command.do](command);
  }
  process.stdin.destroy();
  await end();
}
