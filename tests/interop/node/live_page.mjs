// The proxy's own page, or a report, in a real Chromium, used as people use it. Started with one argument, JSON:
// chromium (the browser's path). Told on stdout, one JSON object a line:
//
//   started    monotonic_ms
//   console    level, text: what the page logged, which includes what its policy forbade
//   uncaught   error
//   request    url: everything that it asked for, but data: and blob:
//   done       id, value: of a command
//   failed     id, error
//
// On stdin, each with an id: {"do": "open", "url", "width", "height", "scheme", "offline", "motion"}, in a context of its own
//   {"do": "click", "selector"}   {"do": "press", "key", "selector"}   {"do": "fill", "selector", "text"}   {"do": "tap"}   {"do": "hover"}
//   {"do": "see", "expression", "timeout_ms"}, until it is true   {"do": "evaluate", "expression"}   {"do": "axe"}
//   {"do": "download", "selector", "path"}   {"do": "screenshot", "path"}   {"do": "exit"}, or the end of stdin

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

import { openPage } from './chromium.mjs';
import { obey, settings, startTelling } from './told.mjs';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const POLL_MS = 25;

const { browser, page: first } = await openPage(settings.chromium);
await first.context().close();
const tell = startTelling();
let page = null;

async function open({ url, width, height, scheme, offline, motion, touch }) {
  if (page) await page.context().close();
  const context = await browser.newContext({
    viewport: { width, height }, colorScheme: scheme, offline, reducedMotion: motion, hasTouch: touch, deviceScaleFactor: 2,
  });
  page = await context.newPage();
  page.on('console', (message) => tell('console', { level: message.type(), text: message.text() }));
  page.on('pageerror', (error) => tell('uncaught', { error: String(error.stack ?? error) }));
  page.on('request', (request) => {
    if (!/^(data|blob):/.test(request.url())) tell('request', { url: request.url() });
  });
  await page.goto(url);
}

async function see({ expression, timeout_ms: timeout }) {
  const until = performance.now() + timeout;
  for (;;) {
    const value = await page.evaluate(expression).catch((error) => {
      if (!/Execution context was destroyed/.test(error)) throw error; // it went on to another document
    });
    if (value) return value;
    if (performance.now() > until) throw new Error(`it did not come true: ${expression}`);
    await new Promise((resolve) => { setTimeout(resolve, POLL_MS); });
  }
}

async function axe() {
  await page.evaluate(AXE);
  const { violations, passes } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  return {
    passes: passes.length,
    violations: violations.map(({ id, impact, help, nodes }) => (
      { id, impact, help, nodes: nodes.slice(0, 5).map((each) => `${each.html.slice(0, 200)} ${each.failureSummary}`) })),
  };
}

async function download({ selector, path }) {
  const [file] = await Promise.all([page.waitForEvent('download'), page.click(selector)]);
  await file.saveAs(path);
  return file.suggestedFilename();
}

const commands = {
  open,
  see,
  axe,
  download,
  evaluate: ({ expression }) => page.evaluate(expression),
  hover: ({ selector }) => page.hover(selector),
  click: ({ selector }) => page.click(selector),
  tap: ({ selector }) => page.tap(selector),
  fill: ({ selector, text }) => page.fill(selector, text),
  press: ({ selector, key }) => (selector ? page.press(selector, key) : page.keyboard.press(key)),
  screenshot: ({ path }) => page.screenshot({ path }),
};

const answered = (name, act) => async (command) => {
  try {
    const value = await act(command);
    tell('done', { id: command.id, value: name === 'screenshot' || value === undefined ? null : value });
  } catch (error) {
    tell('failed', { id: command.id, error: String(error.stack ?? error) });
  }
};

await obey(Object.fromEntries(Object.entries(commands).map(([name, act]) => [name, answered(name, act)])), () => browser.close());
