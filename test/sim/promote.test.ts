import { afterEach, describe, expect, test } from 'vitest';
import { incomingOf } from '../../src/image/from-vm.ts';
import type { ImageStore } from '../../src/image/image-store.ts';
import { bring, CHUNK, diskOf } from './brought.ts';
import { World } from './world.ts';

const operator = { cause: 'operator' } as const;
const NODE = { uefi: { code: '/fw/code', vars: '/fw/vars' }, arch: 'amd64' };
const DISKS = [diskOf(CHUNK + 100_000, 'a'), diskOf(2 ** 20, 'b')];

let world: World;
let images: ImageStore;
afterEach(() => world.close());

const host = () => world.mortal.host;
const zfs = async (...args: string[]): Promise<string[]> =>
  (await world.shell('/sbin/zfs', ...args)).split('\n').filter(Boolean);
const all = (): Promise<string[]> =>
  zfs('list', '-Hp', '-r', '-t', 'filesystem,volume,snapshot', '-o', 'name', 'tank/brig');
const create = async (name: string): Promise<void> => {
  const document = { name, image: 'alpha', memory: '64M', nics: [] };
  await world.engine.create(await images.complete(host(), document, NODE), operator);
};
const head = async (path: string): Promise<string> => {
  const disk = await world.model.host.openDisk(path, 'read');
  const buffer = Buffer.alloc(512);
  await disk.read(0, buffer);
  await disk.close();
  return buffer.toString('latin1', 0, 7);
};

const open = async (kind: 'zfs' | 'files' = 'zfs'): Promise<string> => {
  world = await new World({}, 'tank/brig', kind === 'zfs' ? {} : { dataset: undefined }).prepare('shared');
  images = await world.openImages();
  const { digest } = await images.take(host(), bring(DISKS));
  await create('web01');
  return digest;
};

describe('a VM without its image', () => {
  test('has the data of its volumes, and nothing of the image is left', async () => {
    const digest = await open();
    expect(await world.engine.snapshots.promote('web01', operator)).toEqual({ changed: true });
    await images.remove(host(), digest);
    expect(await all()).toEqual([
      'tank/brig',
      'tank/brig/images',
      'tank/brig/vms',
      'tank/brig/vms/web01',
      'tank/brig/vms/web01/disk0',
      'tank/brig/vms/web01/disk1',
    ]);
    expect(await head('/dev/zvol/tank/brig/vms/web01/disk0')).toBe('begin a');
    expect((await world.engine.show('web01')).image).toBeUndefined();
    await world.engine.start('web01', operator);
    await world.engine.destroy('web01', { ...operator, force: true, graceMs: 0 });
  });

  test('of files had copies anyway', async () => {
    const digest = await open('files');
    await world.engine.snapshots.promote('web01', operator);
    await images.remove(host(), digest);
    await world.engine.start('web01', operator);
    expect(await images.list(host())).toEqual([]);
  });

  test('is not made while others were made of it, while it runs, or while a snapshot lies on it', async () => {
    await open();
    await create('web02');
    const before = await all();
    const { snapshots } = world.engine;
    await expect(snapshots.promote('web01', operator)).rejects.toMatchObject({ code: 'host.mismatch' });
    await world.engine.destroy('web02', operator);
    await zfs('clone', (await all()).find((name) => name.endsWith('disk0@base')) ?? '', 'tank/theirs');
    await expect(snapshots.promote('web01', operator)).rejects.toMatchObject({ code: 'host.mismatch' });
    await zfs('destroy', 'tank/theirs');
    await snapshots.make('web01', 'one', operator);
    await expect(snapshots.promote('web01', operator)).rejects.toThrow(/snapshot one lies on its image/);
    await snapshots.remove('web01', 'one', operator);
    await world.engine.start('web01', operator);
    await expect(snapshots.promote('web01', operator)).rejects.toThrow(/not stopped/);
    expect(await all()).toEqual(before.filter((name) => !name.includes('web02')));
  });

  test.each(['fails before', 'fails after', 'hangs', 'dies before', 'dies after', 'runs twice'] as const)(
    'comes about whenever an effect %s',
    async (kind) => {
      let reached = 1;
      for (let at = 1; reached > 0; at++) {
        const digest = await open();
        const died = Promise.withResolvers<'died'>();
        world.mortal.arm({ kind, at, forEver: false }, () => died.resolve('died'));
        const done = world.engine.snapshots.promote('web01', operator).catch(() => 'refused');
        const hasDied = (await Promise.race([done, died.promise])) === 'died';
        reached = world.mortal.reached;
        world.mortal.arm(undefined);
        if (hasDied) {
          world.die();
          await world.boot();
          images = await world.openImages();
        }
        if ((await world.engine.show('web01')).image) await world.engine.snapshots.promote('web01', operator);
        await images.remove(host(), digest);
        expect((await all()).filter((name) => /@|images\//.test(name))).toEqual([]);
        expect(await head('/dev/zvol/tank/brig/vms/web01/disk1')).toBe('begin b');
        await world.engine.start('web01', operator);
        world.close();
      }
      await open();
    },
  );

  test('promoted by hand: the image says that its disks are gone, the VM runs on and goes', async () => {
    const digest = await open();
    for (const i of [0, 1]) await zfs('promote', `tank/brig/vms/web01/disk${i}`);
    await world.engine.start('web01', operator);
    expect(await images.verify(host(), digest)).toMatchObject({ ok: false });
    await expect(create('web02')).rejects.toThrow();
    expect(await world.list()).toHaveLength(1);
  });
});

test('a node that reserves gives volumes and clones all their space', async () => {
  world = await new World({}, 'tank/brig', { reserve: true }).prepare('shared');
  images = await world.openImages();
  await images.take(host(), bring(DISKS));
  const commands = world.watchCommands();
  await create('web01');
  await world.create({ name: 'web02', disks: [{ zvol: { size: '64M' } }] });
  const said = commands().map(({ args }) => args.join(' '));
  expect(said.filter((line) => line.startsWith('set refreservation=auto'))).toHaveLength(2);
  expect(said.filter((line) => line.startsWith('create -V'))).toHaveLength(1);
});

describe('an image of a VM', () => {
  const build = (snapshot?: string) =>
    world.engine.snapshots.read('web01', snapshot, operator, (disks, spec) =>
      images.take(
        host(),
        incomingOf({ about: { name: 'made', version: snapshot ?? '1' }, arch: 'amd64', disks, spec, snapshot }),
      ),
    );

  test('has its volumes, as they are or as they were, and leaves no clone', async () => {
    await open();
    await world.engine.snapshots.make('web01', 'one', operator);
    const before = (await all()).filter((name) => !/images/.test(name));
    const now = await images.show(host(), (await build()).digest);
    await world.engine.start('web01', operator);
    const then = await images.show(host(), (await build('one')).digest);
    expect(then.manifest.disks).toEqual(now.manifest.disks);
    expect(now.manifest).toMatchObject({ firmware: 'test', provenance: { source: 'VM web01', verified: 'built' } });
    expect(then.manifest.provenance.source).toBe('VM web01@one');
    expect((await all()).filter((name) => !/images/.test(name))).toEqual(before);
    expect((await all()).filter((name) => name.includes('new-'))).toEqual([]);
    await expect(build()).rejects.toThrow(/its guest writes to the disks; a snapshot can be read at any time/);
  });
});
