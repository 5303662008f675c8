import { expect, test } from 'vitest';
import { World, type FaultKind } from '../sim/world.ts';

const operator = { cause: 'operator' } as const;

/** What is swept: how the world is prepared, what is done, and the state that means it was done. */
const STORIES = {
  start: {
    prepare: (world: World) => world.create(),
    act: (world: World) => world.engine.start('web01', operator),
  },
  stop: {
    prepare: async (world: World) => {
      await world.create();
      await world.engine.start('web01', operator);
    },
    act: (world: World) => world.engine.stop('web01', { ...operator, graceMs: 1000 }),
  },
  restart: {
    prepare: async (world: World) => {
      await world.create();
      await world.engine.start('web01', operator);
    },
    act: (world: World) => world.engine.restart('web01', { ...operator, graceMs: 1000 }),
  },
  create: {
    prepare: () => Promise.resolve(),
    act: (world: World) => world.create(),
  },
  destroy: {
    prepare: (world: World) => world.create(),
    act: (world: World) => world.engine.destroy('web01', operator),
  },
} as const;

const KINDS: readonly FaultKind[] = ['fails before', 'fails after', 'hangs', 'dies before', 'dies after'];

interface Outcome {
  readonly reached: number;
  readonly end: string;
}

/** Everything back to nothing by what a person would type; what brigd itself could not clean, it must be able to now. */
const cleanUp = async (world: World): Promise<void> => {
  for (const { name } of await world.engine.list()) {
    await world.engine.stop(name, { ...operator, graceMs: 1000 });
    await world.engine.destroy(name, { ...operator, force: true });
  }
};

const settle = async (world: World): Promise<string> => {
  await world.keeper.settled();
  await world.until(() => world.engine.operations.all().length === 0);
  const [view] = await world.engine.list();
  return view?.state ?? 'none';
};

/** One fault at one point: afterwards the target is reached, or the host is as before, or stuck says why. */
const once = async (story: keyof typeof STORIES, kind: FaultKind, at: number, forEver: boolean): Promise<Outcome> => {
  const world = await new World().prepare();
  try {
    const bare = await world.inventory();
    await STORIES[story].prepare(world);
    const { promise: died, resolve } = Promise.withResolvers<'died'>();
    world.mortal.arm({ kind, at, forEver }, () => resolve('died'));
    const ended = await Promise.race([
      STORIES[story].act(world).then(
        () => 'done',
        () => 'refused',
      ),
      died,
    ]);
    const { reached } = world.mortal;
    if (ended === 'died') {
      world.die();
      await world.boot();
    } else world.mortal.arm(undefined);
    const end = await settle(world);
    const [view] = await world.engine.list();
    const { state } = view ?? { state: 'none' };
    expect(['none', 'defined', 'running', 'failed', 'stuck']).toContain(state);
    if (state === 'failed' || state === 'stuck') expect(view?.reason, 'says why').toBeTruthy();
    if (state === 'running') expect(await world.engine.examine('web01'), 'whole').toEqual([]);
    if (state !== 'running' && state !== 'stuck') expect(await world.inventory(), 'nothing left').toEqual(bare);
    expect(world.store.listSagas(), 'the journal is empty').toEqual([]);
    await cleanUp(world);
    expect(await world.inventory(), 'nothing left at the end').toEqual(bare);
    expect(
      await world.shell('/sbin/zfs', 'list', '-Hp', '-r', '-t', 'filesystem,volume', '-o', 'name', 'tank/brig'),
    ).not.toContain('web01');
    return { reached, end };
  } finally {
    world.close();
  }
};

for (const story of Object.keys(STORIES) as (keyof typeof STORIES)[])
  for (const kind of KINDS)
    for (const forEver of kind.startsWith('dies') ? [false] : [false, true])
      test(`${story}: an effect that ${kind}, ${forEver ? 'for ever' : 'once'}`, async () => {
        const ends = new Map<string, number>();
        let at = 1;
        for (; ; at++) {
          const { reached, end } = await once(story, kind, at, forEver).catch((error: unknown) => {
            throw new Error(`${story} ${kind} at ${at}${forEver ? ' for ever' : ''}: ${String(error)}`, {
              cause: error,
            });
          });
          if (reached === 0) break;
          ends.set(end, (ends.get(end) ?? 0) + 1);
        }
        // A sweep that reached nothing proves nothing.
        expect(at).toBeGreaterThan(5);
      });
