import { expect, test } from 'vitest';
import { World, type FaultKind } from '../sim/world.ts';

const operator = { cause: 'operator' } as const;

const NAT = { name: 'lan', kind: 'nat', subnets: [{ cidr: '10.77.0.0/24' }, { cidr: 'fd00:77::/64' }] };

/** A network that filters and translates, and a VM on it. */
const onNetwork = async (world: World): Promise<void> => {
  await world.filter();
  await world.engine.networks.create(NAT, operator);
  await world.create({ nics: [{ network: 'lan', forwards: [{ port: 2201, to: 22 }] }], disks: [] });
};

/** What is swept: how the world is prepared, what is done, and the state that means it was done. */
const STORIES = {
  start: {
    prepare: (world: World) => world.create({ cloudInit: {} }),
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
  'forced destroy': {
    prepare: async (world: World) => {
      await world.create();
      await world.engine.start('web01', operator);
    },
    act: (world: World) => world.engine.destroy('web01', { ...operator, graceMs: 1000, force: true }),
  },
  'start on a network': {
    prepare: onNetwork,
    act: (world: World) => world.engine.start('web01', operator),
  },
  'stop on a network': {
    prepare: async (world: World) => {
      await onNetwork(world);
      await world.engine.start('web01', operator);
    },
    act: (world: World) => world.engine.stop('web01', { ...operator, graceMs: 1000 }),
  },
  'a network that stays': {
    prepare: (world: World) => world.filter(),
    act: (world: World) => world.engine.networks.create({ ...NAT, persistent: true }, operator),
  },
  crash: {
    prepare: async (world: World) => {
      await world.create({ restart: { policy: 'always' } });
      await world.engine.start('web01', operator);
    },
    act: async (world: World) => {
      world.model.guest('web01').crash(6);
      await world.until(() => world.kinds().includes('vm.ended'), 20_000);
      await world.until(() => world.engine.operations.all().length === 0);
    },
  },
  repair: {
    prepare: async (world: World) => {
      await world.create();
      await world.engine.start('web01', operator);
      await world.shell('/sbin/ifconfig', 'epair7000a', 'destroy');
      await world.shell('/sbin/devfs', 'rule', '-s', '20000', 'delset');
    },
    act: (world: World) => world.engine.repair('web01', () => undefined),
  },
  recovery: {
    prepare: async (world: World) => {
      await world.create();
      const { promise: died, resolve } = Promise.withResolvers<undefined>();
      world.mortal.arm({ kind: 'dies after', at: 30, forEver: false }, () => resolve(undefined));
      void world.engine.start('web01', operator).catch(() => undefined);
      await died;
      world.die();
    },
    // Another brigd on what the first one left.
    act: (world: World) => world.boot(),
  },
} as const;

const KINDS: readonly FaultKind[] = [
  'fails before',
  'fails after',
  'hangs',
  'runs twice',
  'dies before',
  'dies after',
  'reboots before',
  'reboots after',
];
const isDeath = (kind: FaultKind): boolean => kind.startsWith('dies') || kind.startsWith('reboots');

interface Outcome {
  readonly reached: number;
  readonly end: string;
}

/** Everything back to nothing by what a person would type; what brigd itself could not clean, it must be able to now. */
const cleanUp = async (world: World): Promise<void> => {
  for (const { name } of await world.list()) {
    await world.engine.stop(name, { ...operator, graceMs: 1000 });
    await world.engine.destroy(name, { ...operator, force: true });
  }
  if (world.store.networks.find('lan')) await world.engine.networks.destroy('lan', operator);
};

const isWhole = async (world: World): Promise<boolean> => (await world.engine.examine('web01')).length === 0;

/** A run that ended and is not cleaned up yet. */
const isResidue = async (world: World): Promise<boolean> => {
  const [view] = await world.list();
  return view?.state === 'failed' && view.reason === 'its process is gone and its jail is not cleaned up yet';
};

const settle = async (world: World): Promise<string> => {
  await world.keeper.settled();
  await world.until(() => world.engine.operations.all().length === 0);
  // What the host did not let through is taken up by the next pass.
  await world.until(() => world.store.listSagas().length === 0 && world.engine.operations.all().length === 0);
  await world.until(async () => !(await isResidue(world)), 30_000).catch(() => undefined);
  await world.until(() => world.engine.operations.all().length === 0);
  const [view] = await world.list();
  return view?.state ?? 'none';
};

const comeBack = async (world: World, hasDied: boolean, kind: FaultKind): Promise<void> => {
  if (hasDied) world.die();
  if (hasDied && kind.startsWith('reboots')) world.model.reboot();
  if (hasDied || world.stillborn) await world.boot();
};

/** One fault at one point: afterwards the target is reached, or the host is as before, or stuck says why. */
const once = async (story: keyof typeof STORIES, kind: FaultKind, at: number, forEver: boolean): Promise<Outcome> => {
  const world = await new World().prepare('shared');
  try {
    const bare = await world.inventory();
    await STORIES[story].prepare(world);
    const { promise: died, resolve } = Promise.withResolvers<'died'>();
    const onDeath = (): void => resolve('died');
    if (world.mortal.dead) world.next = { fault: { kind, at, forEver }, onDeath };
    else world.mortal.arm({ kind, at, forEver }, onDeath);
    const done = STORIES[story].act(world).then(
      () => 'done',
      () => 'refused',
    );
    const hasDied = (await Promise.race([done, died])) === 'died';
    const { reached } = world.mortal;
    world.mortal.arm(undefined);
    await comeBack(world, hasDied, kind);
    const end = await settle(world);
    const [view] = await world.list();
    const { state } = view ?? { state: 'none' };
    expect(['none', 'defined', 'running', 'failed', 'stuck']).toContain(state);
    if (state === 'failed' || state === 'stuck') expect(view?.reason, 'says why').toBeTruthy();
    // A repair that failed is tried again by the next pass.
    if (state === 'running' && story === 'repair') await world.until(async () => await isWhole(world));
    if (state === 'running') expect(await world.engine.examine('web01'), 'whole').toEqual([]);
    const stays = world.store.networks.find('lan')?.spec.persistent;
    if (state !== 'running' && state !== 'stuck' && !stays)
      expect(await world.inventory(), 'nothing left').toEqual(bare);
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

/** Effects of a story in which nothing goes wrong; what waits for a clock may look once more or less. */
const pointsOf = async (story: keyof typeof STORIES): Promise<number> => {
  const world = await new World().prepare('shared');
  try {
    await STORIES[story].prepare(world);
    world.mortal.arm(undefined);
    await STORIES[story].act(world);
    return world.mortal.points;
  } finally {
    world.close();
  }
};

for (const story of Object.keys(STORIES) as (keyof typeof STORIES)[])
  for (const kind of KINDS)
    for (const forEver of isDeath(kind) || kind === 'runs twice' ? [false] : [false, true])
      test(`${story}: an effect that ${kind}, ${forEver ? 'for ever' : 'once'}`, async () => {
        const ends = new Map<string, number>();
        let at = 1;
        // What fails for ever at a point fails at the next as well: every other one of those.
        for (; ; at += forEver ? 2 : 1) {
          const { reached, end } = await once(story, kind, at, forEver).catch((error: unknown) => {
            throw new Error(`${story} ${kind} at ${at}${forEver ? ' for ever' : ''}: ${String(error)}`, {
              cause: error,
            });
          });
          if (reached === 0) break;
          ends.set(end, (ends.get(end) ?? 0) + 1);
        }
        // A sweep that missed a point proves nothing about it.
        expect(at - 1).toBeGreaterThanOrEqual(await pointsOf(story));
      });
