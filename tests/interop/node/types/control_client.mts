// The types of the control API's client, as a test in TypeScript would use it. What is wrong must be seen to be wrong.

import { ChaosError, connect, type Session, type Verdict } from './chaosproxy-control.mjs';

export async function story(address: string | undefined): Promise<Verdict> {
  const chaos = await connect(address, { token: 'secret' });
  const session: Session = await chaos.session({
    profile: { version: 1, protocol: 'pusher' },
    seed: 7,
    expect: [{ marked: 'banner-shown' }, { reconnected_within: '5s', after: 'heal' }],
  });
  const { name } = await session.step();
  await session.step(name);
  const outage = await session.fault({ half_open: {}, when: { path: '/app/*' } }, { lasts: '5s' });
  await session.waitFor('subscribed', { count: 2, timeout: '10s' });
  await session.waitFor(`struck:${outage.id}`, { timeout: 500 });
  await outage.heal();
  await session.pause();
  const { phases } = await session.phases();
  await session.resume();
  const [first] = await session.connections({ path: '/app/*', silent: false });
  const frozen = await session.freeze(first?.attempt ?? 'all', { lasts: '5s', mode: 'blackhole' });
  await session.fault('stall', { connections: frozen.attempts });
  await frozen.heal();
  await session.heal({ client: phases[0]?.name ?? '' });
  await session.closeConnections('all', { code: 4200 });
  await session.resetConnections({ older_than: '1m' });
  await session.reset();
  await session.play('extended-outage', { seed: 3 });
  // @ts-expect-error: connections are not chosen by their colour
  await session.freeze({ colour: 'red' });
  await chaos.proxy.mark('banner-shown', { client: 'anna' });
  try {
    await session.verdict();
  } catch (error) {
    if (error instanceof ChaosError) error.problems.map((problem) => problem.path.length + (problem.line ?? 0));
  }
  // @ts-expect-error: nothing of this name can be waited for
  await session.waitFor('subscribd');
  // @ts-expect-error: a step goes to one phase
  await session.step(1);
  // @ts-expect-error: version: is missing
  await chaos.session({ profile: { rules: [] } });
  // @ts-expect-error: the key is spelt otherwise
  await chaos.session({ profil: 'fin' });
  // @ts-expect-error: the proxy of run is not closed from here
  await chaos.proxy.close();
  const wrong: number = session.port;
  // @ts-expect-error: a host is text
  const other: number = session.host;
  return wrong + other > 0 ? session.verdict() : session.close();
}
