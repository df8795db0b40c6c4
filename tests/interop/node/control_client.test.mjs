// The client of the control API, in both of its forms, before a running chaosproxy (its address is
// CHAOSPROXY_CONTROL; the client's files are in the folder COPIES).

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { once } from 'node:events';
import { after, before, test } from 'node:test';

import WebSocket, { WebSocketServer } from 'ws';

const asModule = await import(`${process.env.COPIES}/chaosproxy-control.mjs`);
const asCommonJs = createRequire(import.meta.url)(`${process.env.COPIES}/chaosproxy-control.cjs`);
const CONTROL = process.env.CHAOSPROXY_CONTROL;
const STEPPED = {
  version: 1,
  name: 'stepped',
  phases: [{ name: 'healthy', until: 'step' }, { name: 'outage', rules: [{ reject: { status: 503 } }] }],
};
const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
let upstream;

before(async () => {
  if (!server.address()) await once(server, 'listening');
  server.on('connection', (link) => link.on('message', (data) => link.send(String(data))));
  upstream = `ws://127.0.0.1:${server.address().port}`;
});
after(() => server.close());

/** Open a session, hand it over, and end it whatever happens. */
async function within(order, story, { connect } = asModule) {
  const chaos = await connect(CONTROL);
  const session = await chaos.session({ upstream, ...order });
  const links = [];
  const dial = async () => {
    const link = new WebSocket(session.url);
    links.push(link);
    await once(link, 'open');
    return link;
  };
  try {
    return await story(session, dial);
  } finally {
    await session.close().catch(() => {});
    links.forEach((link) => link.terminate());
  }
}

async function echoed(link, text) {
  const heard = once(link, 'message');
  link.send(text);
  return String((await heard)[0]);
}

for (const [form, client] of Object.entries({ module: asModule, CommonJS: asCommonJs })) {
  test(`as ${form}: a session is hurt, heals and is judged`, async () => {
    await within({ seed: 7, expect: [{ marked: 'banner-shown' }] }, async (session, dial) => {
      const link = await dial();
      assert.equal(session.url, `ws://${session.host}:${session.port}`);
      assert.equal((await session.state()).seed, 7);
      assert.equal(await echoed(link, 'before'), 'before');
      const lossy = await session.fault({ drop: {}, when: { from: 'client' }, id: 'lossy' });
      assert.deepEqual([lossy.id, lossy.connections], ['lossy', 1]);
      link.send('dropped');
      assert.equal((await session.waitFor('struck:drop')).there, 1);
      assert.deepEqual(await lossy.heal(), { healed: ['lossy'] });
      assert.equal(await echoed(link, 'behind'), 'behind');
      await session.fault('hang', { lasts: '1h' });
      assert.equal((await session.heal()).healed.length, 1);
      assert.equal((await session.verdict()).passed, false);
      await session.mark('banner-shown');
      await session.waitFor('verdict');
      assert.equal((await session.verdict()).passed, true);
      const { passed, rows } = await session.close();
      assert.equal(passed, true);
      const [row] = rows.filter((each) => each.expected);
      assert.deepEqual([row.name, row.outcome, row.evidence[0].detail], ['marked: banner-shown', 'passed', 'banner-shown']);
    }, client);
  });
}

test('phases are stepped, and named', async () => {
  await within({ profile: STEPPED }, async (session, dial) => {
    await dial();
    assert.equal((await session.step()).name, 'outage');
    await assert.rejects(dial(), /503/);
    assert.equal((await session.step('healthy')).name, 'healthy');
    await dial();
    assert.equal((await session.waitFor('phase:healthy', { count: 2 })).there, 2);
  });
});

test('a phase is paused, another profile played, and the first one anew', async () => {
  await within({ profile: STEPPED }, async (session, dial) => {
    await dial();
    assert.deepEqual([(await session.pause()).paused, (await session.step()).name], [true, 'outage']);
    const { current, paused } = await session.phases();
    assert.deepEqual([current, paused], ['outage', true]);
    assert.equal((await session.resume()).paused, false);
    const played = await session.play({ version: 1, name: 'other' }, { seed: 5, expect: [{ marked: 'seen' }] });
    assert.deepEqual([played.profile.name, played.seed], ['other', 5]);
    await session.mark('seen');
    await session.waitFor('verdict');
    assert.equal((await session.reset()).profile.name, 'other');
    assert.equal((await session.verdict()).rows.at(-1).outcome, 'open');
    await assert.rejects(session.play('no-such-profile'), { status: 422 });
  });
});

test('connections are listed, frozen, healed and ended, one by one or together', async () => {
  await within({}, async (session, dial) => {
    const links = [await dial(), await dial(), await dial()];
    const attempts = (await session.connections({ state: 'tunnel', silent: false })).map(({ attempt }) => attempt);
    assert.deepEqual(attempts, [1, 2, 3]);
    const frozen = await session.freeze(1, { lasts: '1h' });
    await session.freeze(2);
    assert.deepEqual((await session.connections({ silent: true })).map(({ attempt }) => attempt), [1, 2]);
    assert.equal(await echoed(links[2], 'well'), 'well');
    const heard = once(links[0], 'message');
    links[0].send('held');
    assert.deepEqual(await frozen.heal(), { healed: [frozen.rule] });
    assert.equal(String((await heard)[0]), 'held');
    assert.deepEqual((await session.heal({ silent: true })).attempts, [2]);
    assert.equal(await echoed(links[1], 'healed'), 'healed');
    const lossy = await session.fault({ drop: {} }, { connections: [1] });
    assert.equal(lossy.connections, 1);
    const closed = once(links[0], 'close');
    assert.deepEqual((await session.closeConnections(1, { code: 4200 })).attempts, [1]);
    assert.equal((await closed)[0], 4200);
    const reset = links.slice(1).map((link) => once(link, 'close'));
    links.slice(1).forEach((link) => link.on('error', () => {}));
    assert.deepEqual((await session.resetConnections('all')).attempts.slice(-2), [2, 3]);
    assert.deepEqual((await Promise.all(reset)).map(([code]) => code), [1006, 1006]);
    assert.deepEqual((await session.freeze({ client: 'nobody' })).attempts, []);
    await assert.rejects(session.freeze({}), { status: 422 });
  });
});

test('sessions do not disturb each other', async () => {
  await within({}, (hurt, dialHurt) => within({}, async (well, dialWell) => {
    const links = [await dialHurt(), await dialWell()];
    const closed = once(links[0], 'close');
    await hurt.fault({ close: { code: 4200 } });
    assert.equal((await closed)[0], 4200);
    assert.equal(await echoed(links[1], 'untouched'), 'untouched');
  }));
});

test('what does not come is an error that tells what was there', async () => {
  await within({}, async (session, dial) => {
    await dial();
    await assert.rejects(session.waitFor('opened', { count: 2, timeout: 1 }), {
      name: 'ChaosError',
      status: 504,
      message: 'chaosproxy: opened did not come within 1ms: 1 of 2',
    });
    await assert.rejects(session.waitFor('opend', { timeout: '1s' }), /did you mean opened\?/);
  });
});

test('an error carries all problems', async () => {
  const chaos = await asModule.connect(CONTROL);
  await assert.rejects(chaos.session({ profile: { version: 1, rules: [{ rest: {} }], sed: 1 } }), (error) => {
    assert.ok(error instanceof asModule.ChaosError);
    assert.equal(error.status, 422);
    assert.equal(error.problems.length, 2);
    assert.match(error.message, /^chaosproxy: the profile is not valid\n {2}profile\.rules\[0\]\.rest: .*reset\?\n {2}profile\.sed: /);
    return true;
  });
  await assert.rejects(chaos.session({ profile_yaml: 'version: 1\nrules: [rest]' }), /\n {2}profile_yaml:2:9: rules\[0\]: /);
  await assert.rejects(chaos.session({ upstream: 'ws://8.8.8.8:1' }), { status: 403 });
});

test('the proxy of run itself is steered in the same words', async () => {
  const { proxy } = await asModule.connect(CONTROL.replace('http://', ''));
  const { id, heal } = await proxy.fault({ latency: '1ms' });
  assert.deepEqual((await proxy.state()).rules.map((rule) => rule.id), [id]);
  await heal();
  await assert.rejects(proxy.verdict(), { status: 409 });
});

test('a token is sent, and who is not answered is told where nobody is', async () => {
  const tokens = [];
  const other = createServer((request, response) => {
    tokens.push(request.headers.authorization);
    response.writeHead(401, { 'Content-Type': 'application/json' }).end('{"error": "expected another"}');
  });
  await once(other.listen(0, '127.0.0.1'), 'listening');
  const address = `http://127.0.0.1:${other.address().port}/`;
  await assert.rejects(asModule.connect(address, { token: 'secret' }), { status: 401, message: 'chaosproxy: expected another' });
  assert.deepEqual(tokens, ['Bearer secret']);
  other.closeAllConnections();
  await once(other.close(), 'close');
  await assert.rejects(asModule.connect(address), /nobody answers at http:\/\/127\.0\.0\.1:\d+: .*ECONNREFUSED/);
  await assert.rejects(asModule.connect(undefined), TypeError);
});

test('what it says it exports is there', () => {
  assert.deepEqual(Object.keys(asModule).sort(), Object.keys(asCommonJs).sort());
});
