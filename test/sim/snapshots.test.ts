import { afterEach, describe, expect, test } from 'vitest';
import { LIMITS } from '../../src/base/limits.ts';
import type { SnapshotView } from '../../src/platform/snapshots.ts';
import { World } from './world.ts';

const operator = { cause: 'operator' } as const;
const MIB = 2 ** 20;
const DISKS = [{ zvol: { size: '64M' } }, { zvol: { size: '32M' } }];
const ROOT = { mode: 0o644, uid: 0, gid: 0 };

let world: World;
afterEach(() => world.close());

const snapshots = () => world.engine.snapshots;
const make = (name?: string): Promise<SnapshotView> => snapshots().make('web01', name, operator);
const rollback = (name: string, force = false) => snapshots().rollback('web01', name, force, operator);
const names = async (): Promise<string[]> => (await snapshots().list('web01')).map(({ name }) => name);
const stop = () => world.engine.stop('web01', { ...operator, graceMs: 0 });
const start = () => world.engine.start('web01', operator);
const zfs = async (...args: string[]): Promise<string[]> =>
  (await world.shell('/sbin/zfs', ...args)).split('\n').filter(Boolean);
const onHost = (): Promise<string[]> => zfs('list', '-Hp', '-r', '-t', 'snapshot', '-o', 'name', 'tank/brig/vms');

const write = async (path: string, text: string): Promise<void> => {
  const disk = await world.model.host.openDisk(path, 'write');
  await disk.write(0, Buffer.alloc(16_384, text));
  await disk.close();
};
const read = async (path: string): Promise<string> => {
  const disk = await world.model.host.openDisk(path, 'read');
  const buffer = Buffer.alloc(512);
  await disk.read(0, buffer);
  await disk.close();
  return buffer.toString('latin1', 0, 3);
};
const volume = (index: number): string => `/dev/zvol/tank/brig/vms/web01/disk${index}`;

const prepare = async (document: Record<string, unknown> = {}): Promise<void> => {
  world = await new World().prepare('shared');
  await world.model.host.mkdir('/fw', { mode: 0o755, uid: 0, gid: 0 });
  await world.model.host.writeFile('/fw/code', 'code', ROOT);
  await world.model.host.writeFile('/fw/vars', 'vars 0', ROOT);
  await world.create({ disks: DISKS, firmware: { uefi: { code: '/fw/code', vars: '/fw/vars' } }, ...document });
};
const VARS = '/var/db/brig/vms/web01/disk/vars.fd';

describe('a snapshot', () => {
  test('is of all disks at one moment, of a guest that runs or is down, and says which', async () => {
    await prepare();
    const before = world.watchCommands();
    expect(await make('down')).toMatchObject({ name: 'down', kind: 'manual', consistency: 'stopped', isWhole: true });
    expect(before().filter(({ args }) => args[0] === 'snapshot')).toHaveLength(1);
    await start();
    expect(await make('up')).toMatchObject({ consistency: 'crash', disks: [64 * MIB, 32 * MIB] });
    expect(await world.state()).toBe('running');
    expect(await names()).toEqual(['down', 'up']);
    expect(await onHost()).toEqual(
      [0, 1].flatMap((i) => [`tank/brig/vms/web01/disk${i}@brig-down`, `tank/brig/vms/web01/disk${i}@brig-up`]),
    );
  });

  test('is one of so many that somebody asks for', async () => {
    await prepare();
    await make('first');
    const row = world.store.snapshots.find('web01', 'first') ?? expect.fail();
    for (let i = 1; i < LIMITS.snapshotsEach; i++) world.store.snapshots.add({ ...row, name: `n${i}` });
    await expect(make('last')).rejects.toMatchObject({ code: 'vm.blocked' });
    world.store.snapshots.remove('web01', 'n1');
    await expect(make('last')).resolves.toMatchObject({ name: 'last' });
  });

  test('without a name is called by the time', async () => {
    await prepare();
    expect((await make()).name).toMatch(/^\d{8}-\d{6}$/);
  });

  test('brings back disks, firmware variables and the document, and the guest starts from them', async () => {
    await prepare();
    await write(volume(0), 'one');
    await world.model.host.writeFile(VARS, 'vars 1', { mode: 0o600, uid: 20_000, gid: 20_000 });
    await make('one');
    await write(volume(0), 'two');
    await world.model.host.writeFile(VARS, 'vars 2', { mode: 0o600, uid: 20_000, gid: 20_000 });
    await snapshots().resize('web01', 1, 128 * MIB, operator);
    await rollback('one');
    expect(await read(volume(0))).toBe('one');
    expect(await world.model.host.readFile(VARS)).toBe('vars 1');
    const { uid } = await world.engine.show('web01');
    expect(await world.model.host.stat(VARS)).toMatchObject({ mode: 0o600, uid });
    expect(world.engine.row('web01').spec.disks[1]).toMatchObject({ zvol: { size: 32 * MIB } });
    expect(world.kinds()).toContain('vm.rolled-back');
    await start();
    expect(await world.state()).toBe('running');
  });

  test('is not gone back to under a guest that runs: that would swap its disks', async () => {
    await prepare();
    await make('one');
    await start();
    const commands = world.watchCommands();
    await expect(rollback('one')).rejects.toThrow(/rollback web01: blocked: it is not stopped/);
    expect(commands().filter(({ args }) => args[0] === 'rollback')).toEqual([]);
  });

  test('is gone back to past newer ones only by force, and never past a stranger', async () => {
    await prepare();
    for (const name of ['one', 'two', 'three']) await make(name);
    await expect(rollback('one')).rejects.toThrow(/blocked: three, two came after one/);
    await zfs('snapshot', 'tank/brig/vms/web01/disk1@hourly');
    await expect(rollback('one', true)).rejects.toThrow(/newer snapshot of somebody else, got .*disk1@hourly/);
    expect(await names()).toEqual(['one', 'two', 'three']);
    await zfs('destroy', 'tank/brig/vms/web01/disk1@hourly');
    await rollback('one', true);
    expect(await names()).toEqual(['one']);
    expect(await onHost()).toHaveLength(2);
  });

  test('goes, and a destroyed VM takes all of them along', async () => {
    await prepare();
    const before = await onHost();
    await make('one');
    await make('two');
    await snapshots().remove('web01', 'one', operator);
    expect(await names()).toEqual(['two']);
    await world.engine.destroy('web01', operator);
    expect(await onHost()).toEqual(before);
    expect(await world.model.host.list('/var/db/brig/vms')).toEqual([]);
    await world.create({ disks: DISKS });
    expect(await names()).toEqual([]);
  });

  test('that somebody took apart says so, is not gone back to, and can be removed', async () => {
    await prepare();
    await make('one');
    await zfs('destroy', 'tank/brig/vms/web01/disk0@brig-one');
    expect(await snapshots().list('web01')).toMatchObject([{ name: 'one', isWhole: false }]);
    await expect(rollback('one')).rejects.toThrow(/expected snapshot one whole, got zvol.snapshot gone/);
    await snapshots().remove('web01', 'one', operator);
    expect(await onHost()).toEqual([]);
  });

  test.each([
    ['one', /a snapshot one exists/],
    ['../x', /name: expected a name of/],
    ['A', /name: expected a name of/],
    ['x'.repeat(64), /name: expected a name of/],
    ['taken', /zvol.snapshot of taken is there, and not brig's/],
  ])('called %s is refused', async (name, reason) => {
    await prepare();
    await make('one');
    await zfs('snapshot', 'tank/brig/vms/web01/disk0@brig-taken');
    const before = await onHost();
    await expect(make(name)).rejects.toThrow(reason);
    expect(await onHost()).toEqual(before);
  });

  test('that is not there is told with the nearest', async () => {
    await prepare();
    await make('before-upgrade');
    await expect(rollback('before-upgrad')).rejects.toMatchObject({ hint: 'did you mean before-upgrade?' });
    await expect(snapshots().list('web02')).rejects.toThrow(/no such VM/);
  });

  test('of files needs a guest that is down', async () => {
    await prepare({ disks: [{ file: { size: '1M' } }] });
    const disk = '/var/db/brig/vms/web01/disk/disk0.raw';
    await write(disk, 'one');
    await make('one');
    await write(disk, 'two');
    await start();
    await expect(make('two')).rejects.toThrow(/expected it stopped, for disk 0 is a file; got running/);
    await stop();
    await rollback('one');
    expect(await read(disk)).toBe('one');
    await start();
    await stop();
    await snapshots().remove('web01', 'one', operator);
    expect(await world.model.host.list('/var/db/brig/vms/web01/snapshots')).toEqual([]);
  });

  test('leaves the claims of a guest that runs alone when it fails', async () => {
    await prepare();
    await start();
    await world.create({ name: 'web02', disks: [], nics: [{}] });
    await world.engine.start('web02', operator);
    await world.model.host.remove(VARS);
    await expect(make('one')).rejects.toThrow(/files.keep/);
    await world.engine.stop('web02', { ...operator, graceMs: 0 });
    expect(await world.shell('/sbin/ifconfig', '-l')).toContain('bridge');
    expect(await names()).toEqual([]);
  });
});

test('a pool that goes away leaves guests alone, and all is there when it is back', async () => {
  await prepare({ snapshots: { hourly: 3 } });
  await make('one');
  await start();
  const before = await onHost();
  world.mortal.broken = '/sbin/zfs';
  await expect(make('two')).rejects.toMatchObject({ code: 'host.failed' });
  await expect(snapshots().list('web01')).rejects.toMatchObject({ code: 'host.failed' });
  await expect(snapshots().remove('web01', 'one', operator)).rejects.toThrow();
  await world.model.clock.advance(3_600_000);
  await world.keeper.pass();
  expect(await world.state()).toBe('running');
  await stop();
  await expect(rollback('one')).rejects.toThrow();
  await expect(snapshots().resize('web01', 0, 96 * MIB, operator)).rejects.toThrow();
  world.mortal.broken = undefined;
  expect(await onHost()).toEqual(before);
  expect(await snapshots().list('web01')).toMatchObject([{ name: 'one', isWhole: true }]);
  expect(world.kinds()).toContain('snapshot.failed');
  await rollback('one');
  await start();
});

describe('a disk', () => {
  test('grows while its guest is down, and never shrinks', async () => {
    await prepare();
    expect(await snapshots().resize('web01', 0, 96 * MIB, operator)).toEqual({ changed: true });
    expect(await snapshots().resize('web01', 0, 96 * MIB, operator)).toEqual({ changed: false });
    expect(await zfs('get', '-Hp', '-o', 'value', 'volsize', 'tank/brig/vms/web01/disk0')).toEqual([String(96 * MIB)]);
    const refused: [number, number, RegExp][] = [
      [0, 64 * MIB, /expected at least 96M, for a disk never shrinks, got 64M/],
      [7, 96 * MIB, /expected a disk from 0 to 1, got 7/],
    ];
    for (const [disk, bytes, reason] of refused)
      await expect(snapshots().resize('web01', disk, bytes, operator)).rejects.toThrow(reason);
    await start();
    await expect(snapshots().resize('web01', 0, 128 * MIB, operator)).rejects.toThrow(/not stopped/);
  });
});

test('a quota holds for all VMs of an owner, at once too, and for nobody else', async () => {
  world = await new World({}, 'tank/brig', { quotas: { alice: { disk: 200 * MIB } } }).prepare('shared');
  const create = (name: string, owner?: string) =>
    world.create({ name, disks: [{ zvol: { size: '96M' } }], ...(owner === undefined ? {} : { owner }) });
  const ends = await Promise.allSettled(['web01', 'web02', 'web03'].map((name) => create(name, 'alice')));
  expect(ends.map(({ status }) => status).sort()).toEqual(['fulfilled', 'fulfilled', 'rejected']);
  await expect(create('web04', 'alice')).rejects.toThrow(
    /create web04: blocked: expected at most 200M of disks for alice, got 288M of disks with this/,
  );
  const grown = await Promise.allSettled(
    (await world.list()).map(({ name }) => snapshots().resize(name, 0, 104 * MIB, operator)),
  );
  expect(grown.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  await create('web05', 'bob');
  await create('web06');
  expect((await world.engine.show('web05')).owner).toBe('bob');
  expect(await onHost()).toEqual([]);
});

test('a quota counts the snapshots of all VMs of an owner, at once too, and only when one is to be made', async () => {
  world = await new World({}, 'tank/brig', { quotas: { alice: { snapshots: 3 } } }).prepare('shared');
  for (const name of ['web01', 'web02', 'web03', 'web04'])
    await world.create({ name, disks: [{ zvol: { size: '96M' } }], owner: 'alice' });
  const make = (name: string, snapshot: string) => snapshots().make(name, snapshot, operator);
  await make('web01', 'first');
  const ends = await Promise.allSettled(['web01', 'web02', 'web03', 'web04'].map((name) => make(name, 'second')));
  expect(ends.map(({ status }) => status).sort()).toEqual(['fulfilled', 'fulfilled', 'rejected', 'rejected']);
  await expect(make('web01', 'third')).rejects.toThrow(
    'snapshot web01: blocked: expected at most 3 snapshots for alice, got 4 snapshots with this',
  );
  await snapshots().resize('web01', 0, 104 * MIB, operator);
  await snapshots().remove('web01', 'first', operator);
  await make('web01', 'third');
  expect(await onHost()).toHaveLength(3);
});

describe('a schedule', () => {
  const HOUR = 3_600_000;
  const kinds = async (): Promise<string[]> => (await snapshots().list('web01')).map(({ kind }) => kind);
  /** Lets an hour pass, and brigd look. */
  const hours = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      await world.model.clock.advance(HOUR);
      await world.keeper.pass();
      await world.until(() => world.engine.operations.all().length === 0);
    }
  };

  test('makes and keeps as many as the document says, and leaves those of people alone', async () => {
    await prepare({ snapshots: { hourly: 3, daily: 2 } });
    await make('mine');
    await hours(50);
    const found = await kinds();
    expect(found.filter((kind) => kind === 'hourly')).toHaveLength(3);
    expect(found.filter((kind) => kind === 'daily')).toHaveLength(2);
    expect(found.filter((kind) => kind === 'manual')).toHaveLength(1);
    expect(await onHost()).toHaveLength(12);
  });

  test('makes one for all that brigd missed, and none twice after a restart of brigd', async () => {
    await prepare({ snapshots: { hourly: 24 } });
    await hours(1);
    world.die();
    await world.model.clock.advance(10 * HOUR);
    await world.boot();
    await world.keeper.pass();
    await world.until(() => world.engine.operations.all().length === 0);
    expect(await kinds()).toHaveLength(2);
    world.die();
    await world.boot();
    await world.keeper.pass();
    expect(await kinds()).toHaveLength(2);
  });

  test('that cannot be kept says so once in each hour', async () => {
    await prepare({ snapshots: { hourly: 24 }, disks: [{ file: { size: '1M' } }] });
    await start();
    await hours(2);
    await world.keeper.pass();
    expect(world.kinds().filter((kind) => kind === 'snapshot.failed')).toHaveLength(2);
  });
});
