// A headless Chromium with one page: visible, as far as it knows, so that its timers run as in a tab in front, and
// unable to reach anything but this machine.

import { chromium } from 'playwright-core';

const ARGUMENTS = [
  '--disable-background-timer-throttling',
  '--disable-backgrounding-occluded-windows',
  '--disable-renderer-backgrounding',
  '--disable-background-networking', // safe browsing, variations and their like
  '--disable-component-update',
  '--disable-domain-reliability',
  '--disable-sync',
  '--no-pings',
  '--no-proxy-server',
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1', // whatever else would call home does not find it
];

export async function openPage(executablePath, viewport = { width: 800, height: 600 }) {
  const browser = await chromium.launch({
    executablePath,
    args: ARGUMENTS,
    chromiumSandbox: process.getuid() !== 0, // Chromium's own refuses to work for root
    handleSIGINT: false, // our Python side ends us, also on Ctrl-C
  });
  const context = await browser.newContext({ viewport, deviceScaleFactor: 2 });
  return { browser, page: await context.newPage() };
}
