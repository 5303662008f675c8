import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseInterfaces } from '../../src/freebsd/programs/ifconfig.ts';
import { World, type FaultKind } from './world.ts';

const operator = { cause: 'operator' } as const;
const LAN = { name: 'lan', kind: 'bridge', uplinks: ['vtnet0'], persistent: true, moveAddresses: true };

let world: World;
beforeEach(async () => void (world = await new World().prepare('shared')));
afterEach(() => world.close());

const create = (change: object = {}) => world.engine.networks.create({ ...LAN, ...change }, operator);
const addresses = async (name: string): Promise<readonly string[]> =>
  parseInterfaces(await world.shell('/sbin/ifconfig', '-a')).find((each) => each.name === name)?.addresses ?? [];
const defaults = async (): Promise<string[]> =>
  [
    ...(await world.shell('/usr/bin/netstat', '-rn', '--libxo=json')).matchAll(
      /"destination":"default","gateway":"([^"]+)".*?"interface-name":"([^"]+)"/g,
    ),
  ].map(([, via, name]) => `${via} ${name}`);
const settle = async (): Promise<void> => {
  for (let i = 0; i < 4; i++) await world.keeper.pass();
  await world.engine.upkeep.settled();
};

describe("an uplink's addresses", () => {
  test('are the bridge’s while the network is there, and its own again after', async () => {
    await create();
    expect(await addresses('vtnet0')).toEqual([]);
    expect(await addresses('bridge7001')).toEqual(['10.0.2.15/24']);
    expect(await defaults()).toEqual(['10.0.2.2 bridge7001']);
    await settle();
    expect(await world.engine.networks.show('lan')).toMatchObject({ state: 'up', faults: [] });
    await world.engine.networks.destroy('lan', operator);
    expect(await addresses('vtnet0')).toEqual(['10.0.2.15/24']);
    expect(await defaults()).toEqual(['10.0.2.2 vtnet0']);
    expect(await addresses('bridge7001')).toEqual([]);
  });

  test('go back when the router does not answer where they are then', async () => {
    world.model.posture.mute.add('10.0.2.2');
    await expect(create()).rejects.toThrow(/an answer of 10\.0\.2\.2/);
    expect(await addresses('vtnet0')).toEqual(['10.0.2.15/24']);
    expect(await defaults()).toEqual(['10.0.2.2 vtnet0']);
    expect(world.store.networks.find('lan')).toBeUndefined();
  });

  test('move again when somebody moves them back, and with the host after a reboot', async () => {
    await create();
    await world.shell('/sbin/ifconfig', 'bridge7001', 'inet', '10.0.2.15/24', '-alias');
    await world.shell('/sbin/ifconfig', 'vtnet0', 'inet', '10.0.2.15/24', 'alias');
    await settle();
    expect(await addresses('bridge7001')).toEqual(['10.0.2.15/24']);
    expect(await addresses('vtnet0')).toEqual([]);
    world.die();
    world.model.reboot();
    await world.boot();
    await settle();
    expect(await addresses('bridge7001')).toEqual(['10.0.2.15/24']);
    await world.engine.networks.destroy('lan', operator);
    expect(await addresses('vtnet0')).toEqual(['10.0.2.15/24']);
  });

  test.each([
    ['of two uplinks', { uplinks: ['vtnet0', 'em1'] }, /uplinks: expected one uplink/],
    ['of a network that comes and goes', { persistent: false }, /persistent: expected true/],
    ['of an interface that is not there', { uplinks: ['em9'] }, /em9: no such interface/],
  ])('do not move %s', async (_, change, message) => {
    await expect(create(change)).rejects.toThrow(message);
    expect(await addresses('vtnet0')).toEqual(['10.0.2.15/24']);
  });

  const kinds: readonly FaultKind[] = ['fails before', 'fails after', 'dies before', 'dies after'];
  test.each(kinds)('are somewhere whatever happens: an effect that %s', async (kind) => {
    for (let at = 1; ; at++) {
      const died = Promise.withResolvers<'died'>();
      world.mortal.arm({ kind, at, forEver: false }, () => died.resolve('died'));
      const end = create().then(
        () => 'made',
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
      const stays = world.store.networks.find('lan') !== undefined;
      expect(await addresses(stays ? 'bridge7001' : 'vtnet0'), `${kind} ${at}`).toEqual(['10.0.2.15/24']);
      expect(await defaults(), `${kind} ${at}`).toHaveLength(1);
      if (stays) await world.engine.networks.destroy('lan', operator);
      expect(await addresses('vtnet0'), `${kind} ${at}`).toEqual(['10.0.2.15/24']);
      if (!reached) break;
      expect(at).toBeLessThan(200);
    }
  });
});
