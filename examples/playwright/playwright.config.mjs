import { defineConfig } from '@playwright/test';

const PORT = process.env.PORT ?? '4173';

export default defineConfig({
  testDir: 'tests',
  fullyParallel: true, // each test has a session of its own
  workers: 2,
  use: {
    baseURL: `http://127.0.0.1:${PORT}`,
    launchOptions: {
      executablePath: process.env.CHROMIUM || undefined, // without one, what `npx playwright install chromium` installed
      chromiumSandbox: process.getuid() !== 0, // Chromium's own refuses to work for root
      args: ['--no-proxy-server', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'],
    },
  },
  webServer: {
    command: 'node app/serve.mjs',
    url: `http://127.0.0.1:${PORT}`,
    env: { PORT },
  },
});
