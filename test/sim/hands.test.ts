import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { LIMITS } from '../../src/base/limits.ts';
import { World } from './world.ts';

const operator = { cause: 'operator' } as const;

/** The process that watches over bhyve. */
const supervisorPid = async (): Promise<string> => {
  const processes = await world.shell('/bin/ps', '--libxo=json', '-ax', '-o', 'pid,command');
  return /"pid":"(\d+)","command":"\/bin\/sh /.exec(processes)?.[1] ?? '';
};

let world: World;
let bare: string[];
beforeEach(async () => {
  world = await new World().prepare();
  bare = await world.inventory();
  await world.create({ restart: { policy: 'never' }, limits: { memory: '512M' } });
  await world.engine.start('web01', operator);
  // Every kind of pass has found it healthy before.
  await world.model.host.sleep(5 * LIMITS.reconcileEveryMs);
});
afterEach(() => world.close());

/** Commands that change a host: all but those that only look. */
const LOOKS =
  /^\/(usr\/sbin\/jls|bin\/ps|sbin\/mount -p|sbin\/devfs rule (showsets|-s \d+ show)|sbin\/ifconfig (-j \S+ )?-[al]|usr\/bin\/rctl$|sbin\/zfs list)/;

const pidOf = async (): Promise<number | undefined> => (await world.engine.show('web01')).pid;
const found = () => world.reconciler.findings('web01');
const repaired = () =>
  world.events
    .list(0, 10_000, 'web01')
    .filter((event) => event.kind === 'vm.repaired')
    .map(({ data }) => data.step);
const command = (line: string): Promise<string> => {
  const [program = '', ...args] = line.split(' ');
  return world.shell(program, ...args);
};
const JAIL = '/sbin/ifconfig -j brig-web01';

test('a jail that goes away between two looks is gone, and no error', async () => {
  const { host } = world.mortal;
  const before = await world.platform.observe(host, 'run');
  const vm = world.engine.vm('web01');
  await world.engine.stop('web01', operator);
  const seen = await world.platform.look(host, before, vm);
  expect([...(seen.focus?.inside.keys() ?? [])]).toEqual([]);
});

describe('what people do by hand to a running VM is made good, and the guest runs on', () => {
  test.each([
    ['destroys its epair', ['/sbin/ifconfig epair7000a destroy'], ['epair.create', 'epair.add', 'vnet.join']],
    ['renames its epair', ['/sbin/ifconfig epair7000a name mine0'], ['epair.create']],
    ['takes its epair down', ['/sbin/ifconfig epair7000a down'], ['epair.create']],
    ['takes it off its bridge', ['/sbin/ifconfig bridge7000 deletem epair7000a'], ['epair.add']],
    [
      'moves it to another bridge',
      [
        '/sbin/ifconfig bridge9 create',
        '/sbin/ifconfig bridge7000 deletem epair7000a',
        '/sbin/ifconfig bridge9 addm epair7000a',
      ],
      ['epair.add'],
    ],
    ['takes the bridge down', ['/sbin/ifconfig bridge7000 down'], ['bridge.create']],
    ['destroys the bridge', ['/sbin/ifconfig bridge7000 destroy'], ['bridge.create', 'epair.add']],
    ['takes its epair out of its vnet', ['/sbin/ifconfig epair7000b -vnet brig-web01'], ['vnet.join']],
    ['takes its tap out of its vnet', ['/sbin/ifconfig tap7000 -vnet brig-web01'], ['vnet.join']],
    ['renames its tap', [`${JAIL} tap7000 name mine1`], ['tap.create']],
    ['destroys the bridge in its vnet', [`${JAIL} bridge0 destroy`], ['vnet.join']],
    ['takes its tap off the bridge in its vnet', [`${JAIL} bridge0 deletem tap7000`], ['vnet.join']],
    ['takes the bridge in its vnet down', [`${JAIL} bridge0 down`], ['vnet.join']],
    ['empties its ruleset', ['/sbin/devfs rule -s 20000 delset'], ['devfs.load']],
    ['unmounts its /vm', ['/sbin/umount /var/run/brig/vms/web01/root/vm'], ['fs.mount']],
    ['removes its limits', ['/usr/bin/rctl -r jail:brig-web01'], ['limits.add']],
  ] as const)('%s', async (_, lines, steps) => {
    const pid = await pidOf();
    for (const line of lines) await command(line);
    expect(await world.engine.examine('web01')).not.toEqual([]);
    await world.until(async () => (await world.engine.examine('web01')).length === 0);
    await world.reconciler.settled();
    expect(repaired()).toEqual(steps);
    expect(await pidOf()).toBe(pid);
    expect(found()).toEqual([]);
    await world.engine.stop('web01', operator);
    await world.shell('/sbin/ifconfig', 'bridge9', 'destroy');
    expect(await world.inventory()).toEqual(bare);
  });

  test.each(['con.in', 'con.out', 'vm/bhyve.conf', 'vm/firmware.rom'])('removes %s', async (name) => {
    await world.model.host.remove(`/var/run/brig/vms/web01/${name}`);
    await world.until(() => repaired().length > 0);
    expect(repaired()).toEqual(['run-dir.create']);
    expect(await world.engine.examine('web01')).toEqual([]);
  });

  test('all of its run directory, or of brigd, that can be removed', async () => {
    const { host } = world.model;
    for (const path of ['con.in', 'con.out', 'vm/bhyve.conf', 'err'])
      await host.remove(`/var/run/brig/vms/web01/${path}`);
    for (const path of ['exits', 'supervise.sh']) await host.remove(`/var/run/brig/${path}`);
    await world.until(() => world.events.list(0, 10_000).some(({ kind }) => kind === 'brigd.repaired'));
    await world.until(async () => (await world.engine.examine('web01')).length === 0);
    const pid = await pidOf();
    world.model.guest('web01').crash(11);
    await world.until(() => world.kinds().includes('vm.ended'));
    expect((await world.engine.show('web01')).lastEnd).toMatchObject({ exit: 'signal 11' });
    expect(pid).toBeDefined();
    await world.until(() => world.engine.operations.all().length === 0);
    await world.engine.start('web01', operator);
    await world.engine.stop('web01', operator);
    expect(await world.inventory()).toEqual(bare);
  });

  test('what it was stopped with, right before a stop', async () => {
    await world.model.host.remove('/var/run/brig/exits');
    await world.engine.stop('web01', operator);
    expect(await world.state()).toBe('defined');
    expect(await world.inventory()).toEqual(bare);
  });

  test('what cannot be made good is told, with the reason and since when; once', async () => {
    const supervisor = await supervisorPid();
    const before = world.model.host.now();
    await world.shell('/bin/kill', '-KILL', supervisor);
    await world.until(() => found().length > 0);
    expect(found()).toMatchObject([{ step: 'bhyve.start', state: 'refused' }]);
    expect(found()[0]?.reason).toContain('its supervisor was killed');
    const since = found()[0]?.sinceMs ?? 0;
    expect(since - before).toBeLessThan(10_000);
    await world.model.host.sleep(60_000);
    expect(found()[0]?.sinceMs).toBe(since);
    expect(world.kinds().filter((kind) => kind === 'finding.found')).toHaveLength(1);
  });

  test('a finding and its time outlive brigd, and go with the run', async () => {
    await world.shell('/bin/kill', '-KILL', await supervisorPid());
    await world.until(() => found().length > 0);
    const [first] = found();
    world.die();
    await world.model.host.sleep(60_000);
    await world.boot();
    expect(found()).toEqual([first]);
    await world.model.host.sleep(30_000);
    expect(found()[0]?.sinceMs).toBe(first?.sinceMs);
    await world.engine.restart('web01', operator);
    await world.until(() => found().length === 0);
  });

  test('a part that somebody takes away again and again is left to him', async () => {
    const take = () => world.shell('/sbin/ifconfig', 'bridge7000', 'deletem', 'epair7000a');
    for (const times of [1, 2, 3]) {
      await take();
      await world.until(() => repaired().length === times);
    }
    await take();
    await world.until(() => found().length > 0);
    expect(found()[0]?.reason).toContain('repaired 3 times within 60 s');
    await world.model.host.sleep(30_000);
    expect(repaired()).toHaveLength(3);
  });

  test('a pass over a healthy host runs no command but those that look, at most eight in all', async () => {
    await world.model.host.sleep(60_000);
    const ran = world.watchCommands();
    await world.model.host.sleep(4 * 5_000);
    const lines = ran().map(({ program, args }) => [program, ...args].join(' '));
    expect(lines.length).toBeGreaterThan(4 * 5);
    expect(lines.filter((line) => !LOOKS.test(line))).toEqual([]);
    expect(lines.length).toBeLessThanOrEqual(4 * 8);
  });

  test.each([['/sbin/ifconfig epair7000a name mine0'], ['/sbin/ifconfig -j brig-web01 tap7000 name mine1']])(
    '%s: a stop right after leaves nothing',
    async (line) => {
      await command(line);
      await world.engine.stop('web01', operator);
      expect(await world.inventory()).toEqual(bare);
    },
  );

  test('an operator who comes while something is repaired waits, and is not refused', async () => {
    await world.shell('/sbin/ifconfig', 'epair7000a', 'destroy');
    await world.until(() => world.engine.operations.find('web01')?.verb === 'repair');
    expect(await world.engine.stop('web01', operator)).toEqual({ changed: true });
    expect(await world.inventory()).toEqual(bare);
  });
});

describe('what carries the mark and belongs to no run', () => {
  test('of a VM that is stopped is cleaned up', async () => {
    await world.engine.stop('web01', operator);
    await world.shell('/sbin/ifconfig', 'tap7000', 'create', 'description', 'brig:vm/web01', 'group', 'brig');
    await world.until(() => world.kinds().includes('vm.cleaned'));
    expect(await world.inventory()).toEqual(bare);
  });

  test.each([
    ['a VM that brig does not know', 'ghost', 'tap9'],
    ['a VM under a unit that brig did not lease', 'web01', 'tap99'],
  ])('of %s is told with the command that removes it, and not touched', async (_, vm, tap) => {
    await world.engine.stop('web01', operator);
    await world.shell('/sbin/ifconfig', tap, 'create', 'description', `brig:vm/${vm}`);
    await world.until(() => world.reconciler.findings(vm).length > 0);
    expect(world.reconciler.findings(vm)).toMatchObject([
      { step: 'stray', commands: [`/sbin/ifconfig ${tap} destroy`] },
    ]);
    await world.model.host.sleep(30_000);
    expect(await world.shell('/sbin/ifconfig', '-l')).toContain(tap);
    await world.shell('/sbin/ifconfig', tap, 'destroy');
    await world.until(() => world.reconciler.findings(vm).length === 0);
  });
});

describe('with the policy report', () => {
  test('nothing is touched, and what would mend it is told', async () => {
    const other = await new World({}, 'tank/brig', { reconcile: 'report' }).prepare();
    await other.create();
    await other.engine.start('web01', operator);
    await other.shell('/sbin/ifconfig', 'bridge7000', 'deletem', 'epair7000a');
    await other.until(() => other.reconciler.findings('web01').length > 0);
    await other.model.host.sleep(30_000);
    expect(other.reconciler.findings('web01')).toMatchObject([
      { step: 'epair.add', state: 'open', commands: ['/sbin/ifconfig bridge7000 addm epair7000a private epair7000a'] },
    ]);
    await other.shell('/sbin/ifconfig', 'bridge7000', 'addm', 'epair7000a', 'private', 'epair7000a');
    await other.until(() => other.reconciler.findings('web01').length === 0);
    expect(other.kinds()).toContain('finding.gone');
    expect(other.kinds()).not.toContain('vm.repaired');
    other.close();
  });
});

describe('what people do by hand to a running VM that ends it', () => {
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

  test('stops its supervisor: a stop ends the VM, wakes the supervisor, and leaves nothing', async () => {
    await world.shell('/bin/kill', '-STOP', await supervisorPid());
    await world.engine.stop('web01', { cause: 'operator', graceMs: 0 });
    expect(await world.engine.show('web01')).toMatchObject({ state: 'defined' });
    const stages = world.events.list(0, 1_000, 'web01').filter(({ kind }) => kind === 'step.stage');
    expect(stages.at(-1)?.data.stage).toBe('SIGCONT of the supervisor');
  });

  test('kills its supervisor: it runs on, and its end is noticed all the same', async () => {
    const { pid } = await world.engine.show('web01');
    await world.shell('/bin/kill', '-KILL', await supervisorPid());
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
