// The same types for who uses require().

import control = require('./chaosproxy-control.cjs');

export async function story(): Promise<boolean> {
  const session = await (await control.connect('127.0.0.1:7002')).session();
  // @ts-expect-error: there is no such order
  await session.hurt();
  return (await session.close()).passed;
}
