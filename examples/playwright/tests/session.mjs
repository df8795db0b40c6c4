// Playwright's test with a session for each: a port of the one chaosproxy that runs, with a profile and a verdict of its own.

import { test as base, expect } from '@playwright/test';

import { connect } from '../../../chaosproxy/control/chaosproxy-control.mjs'; // elsewhere, a copy of this file

export { expect };

export const test = base.extend({
  order: [{}, { option: true }],

  session: async ({ order }, use, testInfo) => {
    const chaos = await connect(process.env.CHAOSPROXY_CONTROL ?? 'http://127.0.0.1:7002');
    const session = await chaos.session(order);
    await use(session);
    const { passed, rows } = await session.close();
    await testInfo.attach('verdict', { body: JSON.stringify(rows, null, 2), contentType: 'application/json' });
    const unmet = rows.filter(({ outcome }) => outcome === 'failed').map(({ name, seen }) => `${name}: ${seen}`);
    expect(unmet, 'what clients were to do').toEqual([]);
    expect(passed).toBe(true);
  },
});
