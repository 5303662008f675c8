import { afterEach, describe, expect, test } from 'vitest';
import { parseInterfaces, type Interface } from '../../src/freebsd/programs/ifconfig.ts';
import { World } from './world.ts';

const operator = { cause: 'operator' } as const;

let world: World;
afterEach(() => world.close());

const networks = () => world.engine.networks;
const make = (document: Record<string, unknown>) => networks().create(document, operator);
const ifconfig = (...args: string[]): Promise<string> => world.shell('/sbin/ifconfig', ...args);
const interfaces = async (): Promise<Interface[]> => parseInterfaces(await ifconfig('-a'));
const find = async (name: string): Promise<Interface | undefined> =>
  (await interfaces()).find((each) => each.name === name);
const own = async (): Promise<string[]> =>
  (await interfaces()).filter((each) => each.groups.includes('brig')).map((each) => each.name);
const start = (name = 'web01') => world.engine.start(name, operator);
const stop = (name = 'web01') => world.engine.stop(name, { ...operator, graceMs: 0 });
const prepare = async (): Promise<void> => {
  world = await new World().prepare('shared');
  await world.filter();
};
const NAT = { name: 'lan', kind: 'nat', subnets: [{ cidr: '10.77.0.0/24' }, { cidr: 'fd00:77::/64' }] };

describe('what people change by hand about a network', () => {
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 6; i++) await world.keeper.pass();
    await world.reconciler.settled();
    await world.engine.upkeep.settled();
  };

  test.each([
    ['its bridge destroyed', ['bridge7001', 'destroy']],
    ['its address taken', ['bridge7001', 'inet', '10.77.0.1/24', '-alias']],
    ['its bridge down', ['bridge7001', 'down']],
    ['a member taken', ['bridge7001', 'deletem', 'epair7000a']],
    ['a member private no more', ['bridge7001', '-private', 'epair7000a']],
  ])('under a running VM: %s', async (_, words) => {
    await prepare();
    await make(NAT);
    await world.create({ nics: [{ network: 'lan' }], disks: [] });
    await start();
    const before = await ifconfig('bridge7001');
    await ifconfig(...words);
    expect(await ifconfig('bridge7001')).not.toBe(before);
    await settle();
    expect(await find('bridge7001')).toMatchObject({
      flags: expect.arrayContaining(['UP']) as string[],
      addresses: expect.arrayContaining(['10.77.0.1/24', 'fd00:77::1/64']) as string[],
      members: ['epair7000a'],
      privates: ['epair7000a'],
    });
    expect(await networks().show('lan')).toMatchObject({ state: 'up' });
    await stop();
    expect(await own()).toEqual([]);
  });

  test.each([
    ['its bridge destroyed', ['bridge7001', 'destroy']],
    ['its VLAN destroyed', ['vlan7001', 'destroy']],
    ['its VLAN of another tag', ['vlan7001', 'vlan', '5', 'vlandev', 'vtnet0']],
    ['its uplink taken', ['bridge7001', 'deletem', 'vlan7001']],
  ])('of one that is persistent: %s', async (_, words) => {
    await prepare();
    await make({ name: 'red', kind: 'vlan', uplink: 'vtnet0', tag: 7, persistent: true });
    const before = await ifconfig('vlan7001');
    await ifconfig(...words);
    await settle();
    expect(await networks().show('red')).toMatchObject({ state: 'up', faults: [] });
    expect((await find('vlan7001'))?.vlan).toBe('7 vtnet0');
    expect(before).toContain('vlan: 7');
    await networks().destroy('red', operator);
    expect(await own()).toEqual([]);
  });

  test('is not fought over', async () => {
    await prepare();
    await make({ name: 'red', kind: 'bridge', persistent: true });
    for (let i = 0; i < 5; i++) {
      await ifconfig('bridge7001', 'down');
      await world.keeper.pass();
      await world.engine.upkeep.settled();
    }
    const { faults } = await networks().show('red');
    expect(faults).toMatchObject([{ step: 'bridge.create' }]);
    expect(faults[0]?.reason).toContain('repaired 3 times within 60 s: somebody takes it away again');
    await ifconfig('bridge7001', 'up');
    await world.keeper.pass();
    expect(await networks().show('red')).toMatchObject({ state: 'up', faults: [] });
  });

  test('is only told where the policy says so', async () => {
    world = await new World({}, 'tank/brig', { reconcile: 'report' }).prepare('shared');
    await make({ name: 'red', kind: 'bridge', persistent: true });
    await ifconfig('bridge7001', 'destroy');
    await settle();
    expect(await networks().show('red')).toMatchObject({ state: 'down', faults: [{ step: 'bridge.create' }] });
  });
});
