import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { World } from './world.ts';

const operator = { cause: 'operator' } as const;

let world: World;
let bare: string[];
beforeEach(async () => {
  world = await new World().prepare();
  bare = await world.inventory();
  await world.create({ restart: { policy: 'never' } });
  await world.engine.start('web01', operator);
});
afterEach(() => world.close());

describe('what people do by hand to a running VM', () => {
  test.each([
    ['destroys its epair', ['/sbin/ifconfig', 'epair7000a', 'destroy'], 'epair.create'],
    ['takes it off its bridge', ['/sbin/ifconfig', 'bridge7000', 'deletem', 'epair7000a'], 'epair.add'],
    ['destroys the bridge', ['/sbin/ifconfig', 'bridge7000', 'destroy'], 'bridge.create'],
    ['empties its ruleset', ['/sbin/devfs', 'rule', '-s', '20000', 'delset'], 'devfs.load'],
    ['unmounts its /vm', ['/sbin/umount', '/var/run/brig/vms/web01/root/vm'], 'fs.mount'],
  ] as const)('%s: explained, and a stop still leaves nothing', async (_, [program, ...args], step) => {
    await world.shell(program, ...args);
    expect((await world.engine.differences('web01')).some((line) => line.startsWith(`${step}:`))).toBe(true);
    expect(await world.state()).toBe('running');
    await world.engine.stop('web01', operator);
    expect(await world.inventory()).toEqual(bare);
  });

  test.each([
    ['removes its jail', ['/usr/sbin/jail', '-R', 'brig-web01']],
    ['destroys its VM', ['/usr/sbin/bhyvectl', '--vm=web01', '--destroy']],
    ['forces its power off', ['/usr/sbin/bhyvectl', '--vm=web01', '--force-poweroff']],
  ] as const)('%s: noticed, cleaned up, told', async (_, [program, ...args]) => {
    await world.shell(program, ...args);
    await world.until(async () => (await world.state()) !== 'running');
    await world.until(() => world.engine.operations.all().length === 0);
    await world.until(async () => ['failed', 'defined'].includes(await world.state()));
    expect(world.kinds()).toContain('vm.ended');
    expect(await world.inventory()).toEqual(bare);
    await world.engine.start('web01', operator);
    expect(await world.state()).toBe('running');
  });

  test('kills its supervisor: it runs on, and its end is noticed all the same', async () => {
    const { pid } = await world.engine.show('web01');
    const processes = await world.shell('/bin/ps', '--libxo=json', '-ax', '-o', 'pid,command');
    const supervisor = /"pid":"(\d+)","command":"\/bin\/sh /.exec(processes)?.[1] ?? '';
    await world.shell('/bin/kill', '-KILL', supervisor);
    expect(await world.engine.show('web01')).toMatchObject({ state: 'running', pid, supervised: false });
    await world.shell('/bin/kill', '-KILL', String(pid));
    await world.until(() => world.kinds().includes('vm.failed'));
    expect(await world.state()).toBe('failed');
    expect(await world.inventory()).toEqual(bare);
  });

  test('a stranger takes a name of ours while it is stopped: the start says so', async () => {
    await world.engine.stop('web01', operator);
    await world.shell('/sbin/ifconfig', 'bridge7000', 'create', 'description', 'somebody');
    await expect(world.engine.start('web01', operator)).rejects.toThrow(
      'interface bridge7000 free or marked brig:net/default',
    );
    expect(await world.shell('/sbin/ifconfig', 'bridge7000')).toContain('description: somebody');
  });
});
