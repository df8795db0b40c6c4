// Any page in a real Chromium, and what is to be seen of it. Started with one argument, JSON: chromium (the browser's
// path), url, watch (names and CSS selectors), viewport. Told on stdout, one JSON object a line:
//
//   started      monotonic_ms
//   seen         name, colours (the background of each such element), texts: at first, and when they have changed
//   uncaught     error: what the page threw into nobody's hands, or logged as an error
//   screenshot   path
//
// On stdin: {"do": "click", "selector": s}   {"do": "screenshot", "path": p}   {"do": "leave"}, for another page
//           {"do": "close"}, the tab   {"do": "exit"}, or the end of stdin

import { openPage } from './chromium.mjs';
import { obey, settings, startTelling } from './told.mjs';

const { browser, page } = await openPage(settings.chromium, settings.viewport);
const tell = startTelling();
page.on('pageerror', (error) => tell('uncaught', { error: String(error.stack ?? error) }));
await page.exposeFunction('tell', tell);
await page.addInitScript((watch) => {
  const seen = {};
  const look = () => {
    for (const [name, selector] of Object.entries(watch)) {
      const elements = [...document.querySelectorAll(selector)];
      const colours = elements.map((each) => getComputedStyle(each).backgroundColor);
      const texts = elements.map((each) => each.textContent);
      const now = JSON.stringify({ colours, texts });
      if (elements.length > 0 && seen[name] !== now) {
        seen[name] = now;
        window.tell('seen', { name, colours, texts });
      }
    }
  };
  new MutationObserver(look).observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
}, settings.watch);
await page.goto(settings.url);

await obey({
  click: ({ selector }) => page.click(selector),
  screenshot: async ({ path }) => {
    await page.screenshot({ path });
    tell('screenshot', { path });
  },
  leave: () => page.goto('about:blank'),
  close: () => page.close(),
}, () => browser.close());
