import { expect, test } from 'vitest';
import { World, type FaultKind } from '../sim/world.ts';

const KEYS = '/var/db/brig/keys';
const VALUES = [
  ['', 'vnc', 'one'],
  ['alice', 'vnc', 'two'],
  ['bob', 'pw', 'three'],
] as const;
const [OLD, NEW] = ['old passphrase', 'new passphrase'];

const set = async (world: World, [owner, name, value]: readonly [string, string, string]): Promise<void> => {
  await world.engine.secrets.set(owner, name, Buffer.from(value));
};
const read = async (world: World): Promise<string[]> =>
  await Promise.all(
    VALUES.map(async ([owner, name]) =>
      Buffer.from((await world.engine.secrets.reveal({ owner, name })).value).toString(),
    ),
  );
const wanted = VALUES.map(([, , value]) => value);

const KINDS: readonly FaultKind[] = [
  'fails before',
  'fails after',
  'runs twice',
  'dies before',
  'dies after',
  'reboots after',
];

/** Does something with one fault at one effect, then goes on with the brigd that is there, or with the next one. */
const once = async (world: World, kind: FaultKind, at: number, act: () => Promise<unknown>): Promise<number> => {
  const { promise: died, resolve } = Promise.withResolvers<'died'>();
  world.mortal.arm({ kind, at, forEver: false }, () => resolve('died'));
  const done = act().then(
    () => 'done',
    () => 'refused',
  );
  const end = await Promise.race([done, died]);
  const { reached } = world.mortal;
  world.mortal.arm(undefined);
  if (end === 'died') {
    world.die();
    if (kind.startsWith('reboots')) world.model.reboot();
    await world.boot();
  }
  return reached;
};

const sweep = async (make: (at: number) => Promise<number>): Promise<number> => {
  for (let at = 1; ; at++) {
    const reached = await make(at).catch((error: unknown) => {
      throw new Error(`at ${at}: ${String(error)}`, { cause: error });
    });
    if (reached === 0) return at - 1;
  }
};

test.each(KINDS)(
  'a master key is exchanged with an effect that %s: every secret is there all the same',
  async (kind) => {
    const points = await sweep(async (at) => {
      const world = await new World().prepare('shared');
      try {
        for (const each of VALUES) await set(world, each);
        const reached = await once(world, kind, at, () => world.engine.secrets.rotate());
        expect(await read(world)).toEqual(wanted);
        // The next exchange must not take away the only key that opens them.
        await once(world, kind, at, () => world.engine.secrets.rotate());
        expect(await read(world)).toEqual(wanted);
        await world.engine.secrets.rotate();
        await set(world, ['carol', 'x', 'four']);
        world.die();
        await world.boot();
        expect(await read(world)).toEqual(wanted);
        expect(await world.model.host.stat(`${KEYS}/master.key.new`)).toBeUndefined();
        expect(world.store.secrets.masters().size).toBe(1);
        return reached;
      } finally {
        world.close();
      }
    });
    expect(points).toBeGreaterThanOrEqual(5);
  },
);

test.each(KINDS)('a first secret with an effect that %s: whatever was set stays', async (kind) => {
  const points = await sweep(async (at) => {
    const world = await new World().prepare('shared');
    try {
      const reached = await once(world, kind, at, () => set(world, VALUES[0]));
      for (const each of VALUES) await set(world, each);
      world.die();
      await world.boot();
      expect(await read(world)).toEqual(wanted);
      return reached;
    } finally {
      world.close();
    }
  });
  expect(points).toBeGreaterThanOrEqual(3);
});

test('a passphrase is exchanged by a brigd that dies after an effect: the old one or the new one opens every secret', async () => {
  const points = await sweep(async (at) => {
    const world = await new World({}, undefined, { secrets: { master: 'passphrase' } }).prepare('shared');
    try {
      // Deriving takes real time, in which the host's clock would run on.
      world.keeper.close();
      await world.engine.secrets.unlock(OLD);
      for (const each of VALUES) await set(world, each);
      const reached = await once(world, 'dies after', at, () => world.engine.secrets.rotate(NEW));
      if (reached === 0) return 0;
      world.keeper.close();
      await expect(read(world)).rejects.toMatchObject({ code: 'secret.locked' });
      const opens = async (passphrase: string): Promise<boolean> =>
        await world.engine.secrets.unlock(passphrase).then(
          () => true,
          () => false,
        );
      const [byOld, byNew] = [await opens(OLD), await opens(NEW)];
      expect([byOld, byNew].filter(Boolean)).toHaveLength(1);
      expect(await read(world)).toEqual(wanted);
      return reached;
    } finally {
      world.close();
    }
  });
  expect(points).toBeGreaterThanOrEqual(5);
});
