import { expect, test } from 'vitest';
import type { ImageStore } from '../../src/image/image-store.ts';
import { bring, CHUNK, diskOf } from '../sim/brought.ts';
import { World, type FaultKind } from '../sim/world.ts';

const DISKS = [diskOf(CHUNK + 100_000, 'a'), diskOf(2 ** 20, 'b')];
const NODE = { uefi: { code: '/fw/code', vars: '/fw/vars' }, arch: 'amd64' };
const VM = { name: 'web01', image: 'alpha', memory: '64M' };

interface Story {
  readonly prepare: (world: World, images: ImageStore) => Promise<unknown>;
  readonly act: (world: World, images: ImageStore) => Promise<unknown>;
}

const take = (world: World, images: ImageStore) => images.take(world.mortal.host, bring(DISKS));

const STORIES: Readonly<Record<string, Story>> = {
  'an import': { prepare: () => Promise.resolve(), act: take },
  'an rm': { prepare: take, act: (world, images) => images.remove(world.mortal.host, 'alpha') },
  'a gc': {
    prepare: async (world, images) => {
      await take(world, images);
      await world.mortal.host.sleep(1000);
      await images.take(world.mortal.host, bring(DISKS, { about: { version: '2' } }));
    },
    act: (world, images) => images.gc(world.mortal.host, false),
  },
  'a verify': { prepare: take, act: (world, images) => images.verify(world.mortal.host, 'alpha') },
  'a create': {
    prepare: take,
    act: async (world, images) =>
      world.engine.create(await images.complete(world.mortal.host, VM, NODE), { cause: 'operator' }),
  },
};

const KINDS: readonly FaultKind[] = ['fails before', 'fails after', 'hangs', 'runs twice', 'dies before', 'dies after'];
const KEPT = ['zfs', 'files'] as const;
type Kept = (typeof KEPT)[number];

/** The clock of the model does not wait for digests: passes of the keeper would come between by chance. */
const open = async (kept: Kept): Promise<World> => {
  const world = await new World({}, 'tank/brig', kept === 'zfs' ? {} : { dataset: undefined }).prepare('shared');
  world.keeper.close();
  return world;
};

const places = async (world: World): Promise<string[]> => {
  const names = await world.shell(
    '/sbin/zfs',
    'list',
    '-Hp',
    '-r',
    '-t',
    'filesystem,volume,snapshot',
    '-o',
    'name',
    'tank',
  );
  const files = (await world.model.host.list('/var/db/brig/images/disks')) ?? [];
  const manifests = (await world.model.host.list('/var/db/brig/images')) ?? [];
  return [...names.split('\n').filter((name) => name.includes('/images/')), ...files, ...manifests].sort();
};

/** One fault at one point: afterwards every image is whole or not there, and what went wrong goes right. */
const once = async (name: string, kept: Kept, kind: FaultKind, at: number): Promise<number> => {
  const story = STORIES[name] as Story;
  const world = await open(kept);
  try {
    let images = await world.openImages();
    const bare = await places(world);
    await story.prepare(world, images);
    const { promise: died, resolve } = Promise.withResolvers<'died'>();
    world.mortal.arm({ kind, at, forEver: false }, () => resolve('died'));
    const done = story.act(world, images).then(
      () => 'done',
      (error: unknown) => (error instanceof Error && error.message.length > 10 ? 'refused' : 'without a reason'),
    );
    const end = await Promise.race([done, died]);
    expect(end).not.toBe('without a reason');
    const { reached } = world.mortal;
    world.mortal.arm(undefined);
    if (end === 'died') {
      world.die();
      await world.boot();
      await world.until(() => world.engine.operations.all().length === 0);
      world.keeper.close();
    }
    // What could not be taken away then is taken away by the next brigd.
    images = await world.openImages();
    const { host } = world.mortal;
    expect((await places(world)).filter((place) => place.includes('new-'))).toEqual([]);
    for (const { digest, usable } of await images.list(host))
      if (usable) expect(await images.verify(host, digest)).toMatchObject({ ok: true });
    for (const { name: vm } of await world.list()) await world.engine.destroy(vm, { cause: 'operator', force: true });
    await take(world, images);
    expect(await images.verify(host, 'alpha:1')).toMatchObject({ ok: true });
    for (const { digest } of await images.list(host)) await images.remove(host, digest);
    expect((await places(world)).filter((place) => !place.endsWith('/images'))).toEqual(bare);
    return reached;
  } finally {
    world.close();
  }
};

const pointsOf = async (name: string, kept: Kept): Promise<number> => {
  const story = STORIES[name] as Story;
  const world = await open(kept);
  try {
    const images = await world.openImages();
    await story.prepare(world, images);
    world.mortal.arm(undefined);
    await story.act(world, images);
    return world.mortal.points;
  } finally {
    world.close();
  }
};

test.each(Object.keys(STORIES).flatMap((name) => KEPT.map((kept) => [name, kept] as const)))(
  'a fault at every point of %s, kept in %s',
  async (name, kept) => {
    const points = await pointsOf(name, kept);
    expect(points).toBeGreaterThan(0);
    for (const kind of KINDS)
      for (let at = 1; at <= points; at++)
        try {
          expect(await once(name, kept, kind, at), 'the point was reached').toBe(1);
        } catch (error) {
          throw new Error(
            `${kind} at point ${at} of ${points}: ${error instanceof Error ? error.message : String(error)}`,
            {
              cause: error,
            },
          );
        }
  },
);
