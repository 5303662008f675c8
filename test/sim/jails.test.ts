import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseInterfaces } from '../../src/freebsd/programs/ifconfig.ts';
import { World, type FaultKind } from './world.ts';

const operator = { cause: 'operator' } as const;
const NAT = { name: 'lan', kind: 'nat', subnets: [{ cidr: '10.77.0.0/24' }, { cidr: 'fd00:77::/64' }] };

let world: World;
let bare: string[];
const makeJail = (name = 'db', ...words: string[]): Promise<string> =>
  world.shell('/usr/sbin/jail', '-c', `name=${name}`, 'path=/', 'persist', ...words);
beforeEach(async () => {
  world = await new World().prepare('shared');
  await world.filter();
  await makeJail('db', 'vnet');
  bare = await world.inventory();
  await world.engine.networks.create(NAT, operator);
});
afterEach(() => world.close());

const networks = () => world.engine.networks;
const attach = (about: object = {}, jail = 'db') => networks().attach('lan', { jail, ...about }, operator);
const detach = (jail = 'db') => networks().jails.detach('lan', jail, operator);
const inside = async (jail = 'db') =>
  parseInterfaces(await world.shell('/sbin/ifconfig', '-j', jail, '-a')).filter(({ groups }) =>
    groups.includes('epair'),
  );
const jails = async () => (await networks().show('lan')).jails;
const settle = async (): Promise<void> => {
  for (let i = 0; i < 4; i++) {
    await world.keeper.pass();
    await networks().jails.settled();
    await world.engine.upkeep.settled();
  }
};

describe('a jail on a network', () => {
  test('has an interface with an address of its own, and gives all back', async () => {
    const { mac, addresses } = await attach({ owner: 'alice', gateway: true });
    expect(addresses).toEqual(['10.77.0.2/24', 'fd00:77::2/64']);
    expect(await inside()).toMatchObject([
      { name: 'epair7000b', ether: mac, addresses, flags: expect.arrayContaining(['UP']) as string[] },
    ]);
    expect(await world.shell('/sbin/ifconfig', 'bridge7001')).toContain('member: epair7000a');
    expect(await world.shell('/sbin/pfctl', '-a', 'brig/jail.7000', '-s', 'rules')).toContain('tag brig_owner_alice');
    expect(
      networks()
        .leases('lan')
        .map(({ holder, address }) => `${holder} ${address}`),
    ).toEqual(['jail/db 10.77.0.2', 'jail/db fd00:77::2']);
    expect(await jails()).toMatchObject([{ jail: 'db', state: 'attached', unit: 7000 }]);
    await settle();
    await expect(networks().destroy('lan', operator)).rejects.toThrow('expected no jail on it, got db');
    await detach();
    expect(networks().leases('lan')).toEqual([]);
    expect(await world.inventory()).toEqual(bare);
    await networks().destroy('lan', operator);
  });

  test('shares the network with VMs, and is what keeps it', async () => {
    await world.create({ nics: [{ network: 'lan' }], disks: [] });
    await world.engine.start('web01', operator);
    await attach();
    await world.engine.stop('web01', { ...operator, graceMs: 0 });
    expect(await world.shell('/sbin/ifconfig', 'bridge7001')).toContain('member: epair7001a');
    await detach();
    expect(await world.inventory()).toEqual(bare);
  });

  test('asks for what it wants, and is told what it cannot have', async () => {
    expect(await attach({ addresses: ['10.77.0.9/24'], mac: '58:9c:fc:00:00:01' })).toMatchObject({
      addresses: ['10.77.0.9/24', 'fd00:77::2/64'],
      mac: '58:9c:fc:00:00:01',
    });
    for (const [jail, about, message] of [
      ['db', {}, /attach jail db@lan: it is on that network already/],
      ['nope', {}, /expected a running jail with a vnet of its own, got no such jail/],
      ['plain', {}, /got one in the host's network/],
      ['brig-web01', {}, /expected a jail that is not of brig/],
      ['two', { addresses: ['10.77.0.9/24'] }, /10.77.0.9\/32 of network lan is leased already/],
      ['two', { addresses: ['10.78.0.9/24'] }, /10\.78\.0\.9/],
      ['two', { mac: '58:9c:fc:00:00:01' }, /is a NIC of jail\/db/],
      ['two', { colour: 'red' }, /colour/],
    ] as const) {
      await makeJail('plain');
      await makeJail('two', 'vnet');
      await expect(attach(about, jail), jail).rejects.toThrow(message);
    }
    expect(networks().leases('lan')).toHaveLength(2);
    expect(await jails()).toHaveLength(1);
  });
});

describe('a jail that dies by itself', () => {
  test('is noticed, leaves nothing behind, and is back on its network when it returns', async () => {
    const { addresses } = await attach();
    await world.shell('/usr/sbin/jail', '-R', 'db');
    await settle();
    expect(await jails()).toMatchObject([{ state: 'waiting', reason: 'jail db is gone', addresses }]);
    expect(await world.shell('/sbin/ifconfig', '-g', 'brig')).toBe('');
    expect(await world.shell('/sbin/pfctl', '-v', '-s', 'Anchors')).toBe('');
    expect(world.kinds('jail/db@lan')).toContain('jail.gone');
    await makeJail('db', 'vnet');
    await settle();
    expect(await jails()).toMatchObject([{ state: 'attached', addresses }]);
    expect(await inside()).toMatchObject([{ name: 'epair7000b', addresses }]);
  });

  test('and is back before anybody looks has its interface again', async () => {
    const { addresses } = await attach();
    await world.shell('/usr/sbin/jail', '-R', 'db');
    await makeJail('db', 'vnet');
    await settle();
    expect(await inside()).toMatchObject([{ name: 'epair7000b', addresses }]);
  });

  test('while brigd is away is noticed by the next one', async () => {
    await attach();
    world.die();
    await world.shell('/usr/sbin/jail', '-R', 'db');
    await world.boot();
    await settle();
    expect(await jails()).toMatchObject([{ state: 'waiting' }]);
    await detach();
    await makeJail('db', 'vnet');
    const [, , ...now] = await world.inventory();
    expect(now.slice(1)).toEqual(bare.slice(3));
  });
});

describe('what people change by hand about it', () => {
  test.each([
    ['its epair destroyed', ['epair7000a', 'destroy']],
    ['its end taken home', ['epair7000b', '-vnet', 'db']],
    ['off its bridge', ['bridge7001', 'deletem', 'epair7000a']],
    ['its bridge destroyed', ['bridge7001', 'destroy']],
  ])('%s', async (_, words) => {
    const { addresses } = await attach();
    await settle();
    await world.shell('/sbin/ifconfig', ...words);
    await settle();
    expect(await inside()).toMatchObject([{ name: 'epair7000b', addresses }]);
    expect(await world.shell('/sbin/ifconfig', 'bridge7001')).toContain('member: epair7000a');
    await detach();
    expect(await world.inventory()).toEqual(bare);
  });
});

describe('an attach that fails at any effect', () => {
  const kinds: readonly FaultKind[] = ['fails before', 'fails after', 'dies before', 'dies after'];

  test.each(kinds)('%s: is undone, or done', async (kind) => {
    for (let at = 1; ; at++) {
      const died = Promise.withResolvers<'died'>();
      world.mortal.arm({ kind, at, forEver: false }, () => died.resolve('died'));
      const end = attach().then(
        () => 'attached',
        () => 'failed',
      );
      const ended = await Promise.race([end, died.promise]);
      const reached = world.mortal.points >= at;
      world.mortal.arm(undefined);
      if (ended === 'died') {
        world.die();
        await world.boot();
        await settle();
      }
      if ((await jails()).length > 0) await detach();
      expect(networks().leases('lan'), `${kind} ${at}`).toEqual([]);
      expect(await world.inventory(), `${kind} ${at}`).toEqual(bare);
      if (!reached) break;
      expect(at).toBeLessThan(200);
    }
  });
});
