import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { shareOf } from '../../src/engine/boot.ts';
import type { VmSpec } from '../../src/spec/vm.ts';
import { layout } from '../../src/platform/layout.ts';
import { World } from './world.ts';

const operator = { cause: 'operator' } as const;

let world: World;
beforeEach(async () => {
  world = await new World().prepare();
});
afterEach(() => world.close());

const define = async (name: string, boot: object = {}, change: Partial<Record<keyof VmSpec, unknown>> = {}) =>
  await world.create({ name, autostart: true, disks: [], nics: [], boot, ...change });

const logOf = (name: string): string => layout(world.config).vm(name).consoleLog;
const writeLog = (name: string, text: string): Promise<void> =>
  world.model.host.writeFile(logOf(name), text, { mode: 0o600, uid: 0, gid: 0 });

/** What brigd does beside its keeper: the history of each console. */
const keepHistory = (): void =>
  void world.events.listen(({ kind, vm }) => {
    if (kind !== 'vm.running' || vm === undefined) return;
    const { conIn, conOut } = layout(world.config).vm(vm);
    void (async () => {
      let text = (await world.model.host.readFile(logOf(vm))) ?? '';
      const port = await world.model.host.console(conIn, conOut);
      port.onData((chunk) => void writeLog(vm, (text += chunk.toString())));
    })();
  });

const rebootHost = async (): Promise<void> => {
  world.die();
  world.model.reboot();
  await world.boot();
  keepHistory();
};

const all = () => world.events.list(0, 100_000);
/** Names in the order in which something happened to them since the host's last boot. */
const since = (kind: string): string[] => {
  const events = all();
  const begin = events.findLastIndex((event) => event.kind === 'test.boot');
  return events.slice(begin + 1).flatMap((event) => (event.kind === kind && event.vm !== undefined ? [event.vm] : []));
};
const at = (kind: string, vm: string): number =>
  all().findLast((event) => event.kind === kind && event.vm === vm)?.atMs ?? NaN;
const reasonOf = (kind: string, vm: string): unknown =>
  all().findLast((event) => event.kind === kind && event.vm === vm)?.data.reason;
const isOver = (): boolean =>
  all().findLast((event) => /^(test\.boot|boot\.done)$/.test(event.kind))?.kind === 'boot.done';
const mark = (): void => world.events.add('test.boot', 'operator', undefined);
const states = async (...names: string[]): Promise<string[]> =>
  await Promise.all(names.map((name) => world.state(name)));

describe('after a boot of the host', () => {
  test('six VMs start in order: each when those it comes after are ready', async () => {
    await define('web', { after: ['app'], priority: 0 });
    await define('app', { after: ['db'], ready: { port: { address: '192.0.2.8', port: 80 } } });
    await define('db', { after: ['dns'], ready: { delaySeconds: 7 } });
    await define('dns', { priority: 900, ready: { console: 'login:' } });
    await define('solo', { priority: 100 });
    await define('last', { priority: 1000, after: ['nobody'] });
    await writeLog('dns', 'GUEST UP\r\nlogin: halt\r\n');
    mark();
    await rebootHost();
    await world.until(() => since('vm.running').length === 3);
    await world.model.host.sleep(20_000);
    // What dns said before the host went down does not count.
    expect(since('vm.running')).toEqual(['solo', 'dns', 'last']);
    world.model.guest('dns').type('login:');
    await world.until(() => since('vm.running').includes('app'));
    expect(at('vm.running', 'app') - at('vm.running', 'db')).toBeGreaterThanOrEqual(7_000);
    await world.model.host.sleep(20_000);
    expect(await world.state('web')).toBe('defined');
    world.model.posture.ports.add('192.0.2.8 80');
    await world.until(isOver);
    expect(since('vm.running')).toEqual(['solo', 'dns', 'last', 'db', 'app', 'web']);
    expect(all().findLast((event) => event.kind === 'boot.ignored')).toMatchObject({
      vm: 'last',
      data: { after: 'nobody' },
    });
  });

  test('who waits for one that does not start is not started, and told; all others are', async () => {
    await define('db', {}, { disks: [{ zvol: { size: '64M' } }] });
    await define('app', { after: ['db'] });
    await define('web', { after: ['app'] });
    await define('solo', { priority: 999 });
    await world.shell('/sbin/zfs', 'destroy', 'tank/brig/vms/db/disk0');
    mark();
    await rebootHost();
    await world.until(isOver);
    expect(since('vm.running')).toEqual(['solo']);
    expect(since('vm.not-started')).toEqual(['db', 'app', 'web']);
    expect(reasonOf('vm.not-started', 'db')).toContain('what zvol.create made');
    expect(reasonOf('vm.not-started', 'app')).toBe('it waits for db');
    expect(reasonOf('vm.not-started', 'web')).toBe('it waits for app');
    expect(all().findLast((event) => event.kind === 'boot.done')?.data).toEqual({ ready: 1, failed: 1, skipped: 2 });
  });

  test.each([
    ['says nothing', { console: 'login:' }, 'expected "login:" on its console within 9 s, got nothing'],
    ['does not answer', { port: { address: '192.0.2.9', port: 22 } }, 'expected port 22 of 192.0.2.9 within 9 s'],
  ])('one that runs and %s in time is told, and who waits for it is not started', async (_, ready, reason) => {
    await define('db', { ready, readyTimeoutSeconds: 9 });
    await define('web', { after: ['db'] });
    mark();
    await rebootHost();
    await world.until(isOver);
    expect(await states('db', 'web')).toEqual(['running', 'defined']);
    expect(reasonOf('vm.not-ready', 'db')).toContain(reason);
    expect(at('vm.not-ready', 'db') - at('vm.running', 'db')).toBeGreaterThanOrEqual(9_000);
    expect(reasonOf('vm.not-started', 'web')).toBe('it waits for db');
  });

  test.each([{ delaySeconds: 60 }, { console: 'login:' }])(
    'one that ends before it is ready is not: %j',
    async (ready) => {
      await define('db', { ready });
      await define('web', { after: ['db'] });
      mark();
      await rebootHost();
      await world.until(() => since('vm.running').includes('db'));
      world.model.guest('db').type('q');
      await world.until(isOver);
      expect(reasonOf('vm.not-ready', 'db')).toBe('it does not run any more');
      expect(await states('db', 'web')).toEqual(['defined', 'defined']);
    },
  );

  test('those that wait for each other in a circle are told, and start by priority', async () => {
    await define('a', { after: ['b'], priority: 2 });
    await define('b', { after: ['c'], priority: 1 });
    await define('c', { after: ['a'], priority: 3 });
    mark();
    await rebootHost();
    await world.until(isOver);
    expect(all().findLast((event) => event.kind === 'boot.circle')?.data).toEqual({ vms: ['a', 'b', 'c'] });
    expect(since('vm.running')).toHaveLength(3);
    const starts = all().filter((event) => event.kind === 'step.started' && event.data.step === 'run-dir.create');
    expect(starts.map((event) => event.vm)).toEqual(['b', 'a', 'c']);
  });
});

describe('a brigd that ends in the middle of a boot', () => {
  /** db runs and is not ready, off was stopped by a person; then brigd is killed and another comes. */
  const interrupt = async (): Promise<void> => {
    await define('db', { ready: { console: 'login:' } });
    await define('web', { after: ['db'] });
    await define('off');
    mark();
    await rebootHost();
    await world.until(() => since('vm.running').length === 2);
    await world.engine.stop('off', operator);
    world.die();
    // Its console's history is in a file by then.
    await writeLog('db', 'login:');
    await world.boot();
  };

  test('is followed by one that goes on: nobody waits for ever, and what a person stopped stays so', async () => {
    await interrupt();
    await world.until(isOver);
    expect(await states('db', 'web', 'off')).toEqual(['running', 'running', 'defined']);
    expect(reasonOf('vm.not-started', 'off')).toBe('it ended in the meantime');
  });

  test('and one after a boot that is over starts nothing', async () => {
    await interrupt();
    await world.until(isOver);
    await world.until(async () => (await world.model.host.stat(layout(world.config).booting)) === undefined);
    await world.engine.stop('web', operator);
    world.die();
    await world.boot();
    await world.model.host.sleep(60_000);
    expect(await states('db', 'web', 'off')).toEqual(['running', 'defined', 'defined']);
  });
});

const started = async (...names: string[]): Promise<void> => {
  await Promise.all(names.map((name) => world.engine.start(name, operator)));
};
const stagesOf = (vm: string): unknown[] =>
  all().flatMap((event) => (event.vm === vm && event.kind === 'step.stage' ? [event.data.stage] : []));

describe('a shutdown', () => {
  test('stops those that others wait for last, and a boot brings back what says autostart', async () => {
    await define('dns');
    await define('db', { after: ['dns'] });
    await define('web', { after: ['db'] }, { autostart: false });
    await define('off');
    const before = await world.inventory();
    await started('dns', 'db', 'web');
    mark();
    expect(await world.node.shutdown(60_000)).toEqual({ stopped: ['web', 'db', 'dns'], failed: [] });
    expect(since('vm.stopped')).toEqual(['web', 'db', 'dns']);
    expect(await states('dns', 'db', 'web')).toEqual(['defined', 'defined', 'defined']);
    expect(await world.inventory()).toEqual(before);
    mark();
    await rebootHost();
    await world.until(isOver);
    expect(await states('dns', 'db', 'web', 'off')).toEqual(['running', 'running', 'defined', 'running']);
  });

  test('gives what is left to those whose turn comes later, although one does not listen', async () => {
    await define('dns');
    await define('db', { after: ['dns'] });
    await define('web', { after: ['db'] });
    await started('dns', 'db', 'web');
    world.model.guest('web').ignoreAcpi = true;
    const begin = world.model.host.now();
    expect((await world.node.shutdown(60_000)).stopped).toEqual(['web', 'db', 'dns']);
    const tookMs = world.model.host.now() - begin;
    expect(tookMs).toBeGreaterThanOrEqual(30_000);
    expect(tookMs).toBeLessThan(40_000);
    expect(stagesOf('web')).toEqual(['ACPI power button', 'forced power-off']);
    expect([...new Set([...stagesOf('db'), ...stagesOf('dns')])]).toEqual(['ACPI power button']);
  });

  test('ends within its time when nobody listens', async () => {
    const names = ['dns', 'db', 'web', 'solo'];
    await define('dns');
    await define('db', { after: ['dns'] });
    await define('web', { after: ['db'] });
    await define('solo');
    await started(...names);
    for (const name of names) world.model.guest(name).ignoreAcpi = true;
    const begin = world.model.host.now();
    expect((await world.node.shutdown(20_000)).failed).toEqual([]);
    expect(world.model.host.now() - begin).toBeLessThan(25_000);
    expect(names.some((name) => world.model.guest(name).running)).toBe(false);
  });

  test('without time kills all', async () => {
    await define('a');
    await started('a');
    world.model.guest('a').ignoreAcpi = true;
    expect(await world.node.shutdown(0)).toEqual({ stopped: ['a'], failed: [] });
    expect(stagesOf('a')).toEqual(['SIGKILL']);
  });

  test('takes back a start that is under way, and starts nothing more', async () => {
    await define('db', { ready: { delaySeconds: 600 } });
    await define('web', { after: ['db'] });
    await define('gate', { ready: { delaySeconds: 3 } });
    await define('slow', { after: ['gate'] });
    mark();
    await rebootHost();
    await world.until(() => world.engine.operations.find('slow')?.verb === 'start');
    expect((await world.node.shutdown(30_000)).failed).toEqual([]);
    expect(world.model.guest('db').running || world.model.guest('slow').running).toBe(false);
    await world.until(isOver, 30_000);
    expect(await states('db', 'web', 'slow')).toEqual(['defined', 'defined', 'defined']);
    expect(since('vm.not-started').sort()).toEqual(['slow', 'web']);
    expect(since('vm.not-ready')).toEqual(['db']);
  });

  test('ends the boot: what has not had its turn is not started', async () => {
    const names = ['a', 'b', 'c', 'd', 'e', 'f'];
    for (const name of names) await define(name);
    mark();
    await rebootHost();
    await world.until(() => world.engine.operations.all().length === 2);
    await world.node.shutdown(30_000);
    await world.until(isOver);
    expect(since('vm.not-started').sort()).toEqual(names);
    expect(reasonOf('vm.not-started', 'f')).toBe('the node shuts down');
    expect(since('vm.running')).toEqual([]);
    // A person may start it again.
    await started('f');
    expect(await world.state('f')).toBe('running');
  });

  test('goes on past one that cannot be stopped, and names it', async () => {
    await define('db');
    await define('web', { after: ['db'] });
    await started('db', 'web');
    const { root } = layout(world.config).vm('web');
    world.model.onCommand = ({ program, args }) =>
      program === '/sbin/umount' && args.some((arg) => arg.startsWith(root)) ? 'before' : undefined;
    const end = await world.node.shutdown(30_000);
    expect(end.stopped).toEqual(['db']);
    expect(end.failed).toMatchObject([{ vm: 'web', reason: expect.stringContaining('umount') as string }]);
  });

  test('asked for twice is one', async () => {
    await define('a');
    await started('a');
    const [first, second] = await Promise.all([world.node.shutdown(1_000), world.node.shutdown(9_000)]);
    expect(second).toBe(first);
    expect(all().filter((event) => event.kind === 'shutdown.started')).toHaveLength(1);
    expect(await world.node.shutdown(1_000)).toEqual({ stopped: [], failed: [] });
  });

  test.each([
    [60_000, 1, 60_000],
    [60_000, 3, 30_000],
    [60_000, 10, 6_000],
    [-5, 2, 0],
  ])('of %i ms left and %i turns each gets %i', (leftMs, turns, share) => {
    expect(shareOf(leftMs, turns)).toBe(share);
  });
});
