import { afterEach, describe, expect, test } from 'vitest';
import type { BrigError } from '../../src/base/errors.ts';
import { parseVm } from '../../src/spec/vm.ts';
import { World } from './world.ts';

const operator = { cause: 'operator' } as const;
const NAT = { name: 'lan', kind: 'nat', subnets: [{ cidr: '10.77.0.0/24' }, { cidr: 'fd00:77::/64' }] };

let world: World;
afterEach(() => world.close());

const networks = () => world.engine.networks;
const make = (document: Record<string, unknown>) => networks().create(document, operator);
const own = (): Promise<string> => world.shell('/sbin/ifconfig', '-g', 'brig');
const start = (name = 'web01') => world.engine.start(name, operator);
const prepare = async (): Promise<void> => {
  world = await new World().prepare('shared');
  await world.filter();
};

describe('a network that goes', () => {
  const rules = (): number => world.store.grants.list().length;
  const grant = (): boolean =>
    world.store.grants.add({ principal: 'user:bob', role: 'network', object: 'network:lan', by: 'root', createdMs: 1 });
  /** Somebody who does not wait his turn: a request that was let in before. */
  const duringUndo = (work: () => void): void => {
    const { events } = world;
    const stop = events.listen(({ kind, vm }) => {
      if (kind !== 'step.started' || vm !== 'network/lan') return;
      stop();
      work();
    });
  };
  const SPEC = { name: 'web01', firmware: { builtin: 'test' }, nics: [{ network: 'lan' }] };
  const add = (): void => void world.store.addVm(parseVm(SPEC), 1);

  test('takes the rules about it along, when an earlier brigd did not finish it, too', async () => {
    await prepare();
    await make({ ...NAT, persistent: true });
    grant();
    world.mortal.broken = '/sbin/ifconfig';
    await expect(networks().destroy('lan', operator)).rejects.toMatchObject({ code: 'saga.stuck' });
    expect([world.store.networks.list().length, rules()]).toEqual([1, 1]);
    world.mortal.broken = undefined;
    await world.keeper.pass();
    expect([world.store.networks.list().length, rules(), world.store.listSagas().length]).toEqual([0, 0, 0]);
    expect(await own()).toBe('');
  });

  test('that was stuck is nothing that could take the next of its name along', async () => {
    await prepare();
    await make({ ...NAT, persistent: true });
    world.mortal.broken = '/sbin/ifconfig';
    await expect(networks().destroy('lan', operator)).rejects.toMatchObject({ code: 'saga.stuck' });
    world.mortal.broken = undefined;
    await networks().destroy('lan', operator);
    expect([world.store.listSagas(), await own()]).toEqual([[], '']);
    await make({ ...NAT, persistent: true });
    await world.keeper.pass();
    expect(await networks().show('lan')).toMatchObject({ state: 'up' });
  });

  test('stays, and comes up again, for a VM that came meanwhile', async () => {
    await prepare();
    await make({ ...NAT, persistent: true });
    grant();
    duringUndo(add);
    await expect(networks().destroy('lan', operator)).rejects.toThrow('expected no VM with a NIC on it, got web01');
    expect(rules()).toBe(1);
    await world.keeper.pass();
    await world.engine.upkeep.settled();
    expect(await networks().show('lan')).toMatchObject({ state: 'up', vms: ['web01'] });
  });

  test('because it could not be made stays for a VM that came meanwhile', async () => {
    await prepare();
    duringUndo(() => {
      add();
      world.mortal.broken = '/sbin/sysctl';
    });
    await expect(make({ ...NAT, persistent: true })).rejects.toThrow(/injected fault/);
    world.mortal.broken = undefined;
    expect(await networks().show('lan')).toMatchObject({ vms: ['web01'] });
  });

  test('from under a VM is a matter of that VM alone: others are listed and looked after', async () => {
    await prepare();
    await make(NAT);
    await world.create({ nics: [{ network: 'lan' }], disks: [] });
    await world.create({ name: 'web02', nics: [], disks: [] });
    await start('web02');
    world.store.networks.remove('lan');
    expect((await world.list()).map(({ name, state }) => [name, state])).toEqual([
      ['web01', 'defined'],
      ['web02', 'running'],
    ]);
    await expect(start()).rejects.toThrow('start web01: blocked: expected network lan, got no such network');
    await world.shell('/bin/kill', '-9', String((await world.engine.show('web02')).pid));
    await world.keeper.pass();
    expect(world.kinds('web02')).toContain('vm.ended');
    await world.engine.destroy('web01', operator);
  });

  test('or changes names nobody whom who asks may not view', async () => {
    await prepare();
    await make(NAT);
    await make({ name: 'far', kind: 'vlan', uplink: 'vtnet0', tag: 7 });
    for (const name of ['web01', 'web02']) await world.create({ name, nics: [{ network: 'lan' }], disks: [] });
    await start('web01');
    const asked = { ...operator, sees: (holder: string) => holder === 'web02' || holder === 'network/lan' };
    await expect(networks().destroy('lan', asked)).rejects.toThrow('got web02, 1 that you may not view');
    const edit = (more: object) => networks().edit('lan', { ...NAT, ...more }, { ...operator, sees: () => false });
    for (const refused of [
      () => networks().destroy('lan', { ...operator, sees: () => false }),
      () => edit({ mtu: 1400 }),
      () => edit({ subnets: [{ cidr: '10.78.0.0/24' }] }),
    ]) {
      const { message, hint } = (await refused().catch((error: unknown) => error)) as BrigError;
      expect(message).toMatch(/\d that you may not view/);
      expect(`${message} ${hint}`).not.toContain('web0');
    }
    const other = { name: 'farther', kind: 'vlan', uplink: 'vtnet0', tag: 8 };
    await make(other);
    await expect(networks().edit('farther', { ...other, tag: 7 }, asked)).rejects.toThrow(
      'expected VLAN 7 of vtnet0 for itself, got that of one that you may not view',
    );
  });
});
