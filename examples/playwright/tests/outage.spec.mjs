import { expect, test } from './session.mjs';

const PUSHER = { version: 1, protocol: 'pusher' };

/** Open the page, to connect through the session, and wait until it is subscribed. */
async function open(page, session) {
  await page.goto(`/?host=${session.host}&port=${session.port}`);
  await session.waitFor('subscribed');
  const banner = page.getByRole('status');
  await expect(banner).toBeHidden();
  return banner;
}

test.describe('a link that is dead without a word', () => {
  test.use({
    order: {
      profile: PUSHER,
      expect: [
        { detected_within: '5s' },
        { marked: 'banner-shown' },
        { states: { containing: ['connected', 'connecting', 'connected'] } },
        { resubscribed: { channels: 'all', within: '20s' }, after: 'fault' },
      ],
    },
  });

  test('is noticed by the page, and left for a new one', async ({ page, session }) => {
    const banner = await open(page, session);
    await page.addScriptTag({ url: session.scriptUrl }); // the page's own words for its states stand beside the wire
    await page.evaluate('chaosproxy.watch(pusher)');
    await session.waitFor('state:connected');
    const outage = await session.fault({ half_open: { mode: 'blackhole', heal: 'reset' } });
    await expect(banner).toBeVisible({ timeout: 10_000 });
    await session.mark('banner-shown');
    await outage.heal();
    await expect(banner).toBeHidden({ timeout: 10_000 });
    await session.waitFor('verdict');
  });
});

test.describe('a server that sends everyone away and does not answer for a while', () => {
  test.use({
    order: {
      profile: {
        ...PUSHER,
        phases: [
          { name: 'healthy', until: 'step' },
          { name: 'away', until: 'step', rules: [{ close: 4200 }, 'hang'] },
          { name: 'back' },
        ],
      },
      expect: [{ reconnected_within: '15s' }, { resubscribed: { channels: 'all', within: '15s' } }, { subscribes_once: {} }],
    },
  });

  test('is missed by the page, and found again', async ({ page, session }) => {
    const banner = await open(page, session);
    await session.step();
    await expect(banner).toBeVisible();
    await session.step();
    await expect(banner).toBeHidden({ timeout: 15_000 });
    await session.waitFor('verdict');
  });
});
