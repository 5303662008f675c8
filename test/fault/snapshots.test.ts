import { expect, test } from 'vitest';
import { World, type FaultKind } from '../sim/world.ts';

const operator = { cause: 'operator' } as const;
const MIB = 2 ** 20;
const VM = '/var/db/brig/vms/web01';
const volume = (index: number): string => `/dev/zvol/tank/brig/vms/web01/disk${index}`;

const write = async (world: World, text: string): Promise<void> => {
  const { host } = world.model;
  for (const path of [volume(0), volume(1), `${VM}/disk/disk2.raw`]) {
    const disk = await host.openDisk(path, 'write');
    await disk.write(0, Buffer.alloc(512, text));
    await disk.close();
  }
  await host.writeFile(`${VM}/disk/vars.fd`, text, { mode: 0o600, uid: 20_000, gid: 20_000 });
};

/** What is on each disk, and in the firmware's variables: one letter each. */
const read = async (world: World): Promise<string> => {
  const { host } = world.model;
  const letters = [volume(0), volume(1), `${VM}/disk/disk2.raw`].map(async (path) => {
    const disk = await host.openDisk(path, 'read');
    const buffer = Buffer.alloc(512);
    await disk.read(0, buffer);
    await disk.close();
    return buffer.toString('latin1', 0, 1);
  });
  return [...(await Promise.all(letters)), (await host.readFile(`${VM}/disk/vars.fd`)) ?? '-'].join('');
};

const sizeOf = (world: World): number => {
  const [disk] = world.engine.row('web01').spec.disks;
  return disk && 'zvol' in disk ? disk.zvol.size / MIB : 0;
};

const prepare = async (world: World): Promise<void> => {
  const { host } = world.model;
  await host.mkdir('/fw', { mode: 0o755, uid: 0, gid: 0 });
  for (const name of ['code', 'vars']) await host.writeFile(`/fw/${name}`, 'v', { mode: 0o444, uid: 0, gid: 0 });
  await world.create({
    disks: [{ zvol: { size: '64M' } }, { zvol: { size: '64M' } }, { file: { size: '1M' } }],
    firmware: { uefi: { code: '/fw/code', vars: '/fw/vars' } },
  });
  const { snapshots } = world.engine;
  await write(world, 'a');
  await snapshots.make('web01', 'a', operator);
  await write(world, 'b');
  await snapshots.make('web01', 'b', operator);
  await snapshots.resize('web01', 0, 96 * MIB, operator);
  await write(world, 'c');
};

const STORIES = {
  make: (world: World) => world.engine.snapshots.make('web01', 'c', operator),
  remove: (world: World) => world.engine.snapshots.remove('web01', 'a', operator),
  rollback: (world: World) => world.engine.snapshots.rollback('web01', 'a', true, operator),
  resize: (world: World) => world.engine.snapshots.resize('web01', 0, 128 * MIB, operator),
} as const;
type Story = keyof typeof STORIES;

/** All that a story may end in: disks, size of the first in MiB, snapshots. */
const ENDS: Record<Story, readonly string[]> = {
  make: ['cccc 96 a,b', 'cccc 96 a,b,c'],
  remove: ['cccc 96 a,b', 'cccc 96 b'],
  // Newer snapshots go first, each for itself.
  rollback: ['cccc 96 a,b', 'cccc 96 a', 'aaaa 64 a'],
  resize: ['cccc 96 a,b', 'cccc 128 a,b'],
};

const KINDS: readonly FaultKind[] = ['fails before', 'fails after', 'hangs', 'dies before', 'dies after', 'runs twice'];

const snapshotsOnHost = async (world: World): Promise<string[]> =>
  (await world.shell('/sbin/zfs', 'list', '-Hp', '-r', '-t', 'snapshot', '-o', 'name', 'tank/brig'))
    .split('\n')
    .filter(Boolean);

/** What the store knows is whole on the host, and the host has nothing else. */
const agree = async (world: World): Promise<string[]> => {
  const known = await world.engine.snapshots.list('web01');
  expect(known.filter(({ isWhole }) => !isWhole)).toEqual([]);
  const names = known.map(({ name }) => name);
  const wanted = [0, 1].flatMap((i) => names.map((name) => `tank/brig/vms/web01/disk${i}@brig-${name}`));
  expect((await snapshotsOnHost(world)).sort()).toEqual(wanted.sort());
  expect(await world.model.host.list(`${VM}/snapshots`)).toEqual([...names].sort());
  return names;
};

const once = async (story: Story, kind: FaultKind, at: number, forEver: boolean): Promise<number> => {
  const world = await new World().prepare('shared');
  try {
    await prepare(world);
    const { promise: died, resolve } = Promise.withResolvers<'died'>();
    world.mortal.arm({ kind, at, forEver }, () => resolve('died'));
    const done = STORIES[story](world).then(
      () => 'done',
      () => 'refused',
    );
    const hasDied = (await Promise.race([done, died])) === 'died';
    const { reached } = world.mortal;
    world.mortal.arm(undefined);
    if (hasDied) {
      world.die();
      await world.boot();
    }
    await world.until(() => world.engine.operations.all().length === 0);
    if ((await world.state()) === 'stuck') {
      await expect(world.engine.start('web01', operator), 'of two moments').rejects.toThrow(/blocked/);
      await world.engine.resolve('web01', operator);
    }
    // A removal that failed is asked for again; what else was left is taken up by the next pass.
    await world.until(() => world.store.listSagas().length === 0);
    if (story === 'remove' && (await world.engine.snapshots.list('web01')).some(({ isWhole }) => !isWhole))
      await STORIES.remove(world);
    if (story === 'rollback')
      for (const { name, isWhole } of await world.engine.snapshots.list('web01'))
        if (!isWhole) await world.engine.snapshots.remove('web01', name, operator);
    const names = await agree(world);
    expect(ENDS[story]).toContain(`${await read(world)} ${sizeOf(world)} ${names.join(',')}`);
    await world.engine.start('web01', operator);
    await world.engine.destroy('web01', { ...operator, force: true, graceMs: 0 });
    expect(await snapshotsOnHost(world)).toEqual([]);
    expect(await world.model.host.list('/var/db/brig/vms')).toEqual([]);
    return reached;
  } finally {
    world.close();
  }
};

const pointsOf = async (story: Story): Promise<number> => {
  const world = await new World().prepare('shared');
  try {
    await prepare(world);
    world.mortal.arm(undefined);
    await STORIES[story](world);
    return world.mortal.points;
  } finally {
    world.close();
  }
};

for (const story of Object.keys(STORIES) as Story[])
  for (const kind of KINDS)
    for (const forEver of kind.startsWith('dies') || kind === 'runs twice' ? [false] : [false, true])
      test(`${story}: an effect that ${kind}, ${forEver ? 'for ever' : 'once'}`, async () => {
        let at = 1;
        for (; ; at++) {
          const reached = await once(story, kind, at, forEver).catch((error: unknown) => {
            throw new Error(`${story} ${kind} at ${at}: ${String(error)}`, { cause: error });
          });
          if (reached === 0) break;
        }
        // A sweep that missed a point proves nothing about it.
        expect(at - 1).toBeGreaterThanOrEqual(await pointsOf(story));
      });
