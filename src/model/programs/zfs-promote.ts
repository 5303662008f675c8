import { done, fail, type Answer } from '../program.ts';
import type { Dataset, World } from '../world.ts';

/** Snapshots of a volume up to this one. */
const upTo = (world: World, { name, txg }: Dataset): Dataset[] => {
  const volume = name.slice(0, name.indexOf('@') + 1);
  return [...world.datasets.values()].filter((each) => each.name.startsWith(volume) && each.txg <= txg);
};

/** The clone takes its origin's snapshots over with their holds, and what they were of becomes a clone. unrecorded: the texts */
export const promote = (world: World, name: string): Answer => {
  const clone = world.datasets.get(name);
  if (!clone) return fail(`cannot open '${name}': dataset does not exist`);
  const origin = clone.origin === undefined ? undefined : world.datasets.get(clone.origin);
  if (!origin) return fail(`cannot promote '${name}': not a cloned filesystem`);
  const [volume = ''] = origin.name.split('@');
  const moved = upTo(world, origin);
  const taken = moved.find((each) => world.datasets.has(name + each.name.slice(volume.length)));
  if (taken) return fail(`cannot promote '${name}': snapshot name '${taken.name.slice(volume.length)}' conflicts`);
  const renamed = new Map(moved.map((each) => [each.name, name + each.name.slice(volume.length)]));
  const free: { -readonly [K in keyof Dataset]: Dataset[K] } = { ...clone };
  delete free.origin;
  world.datasets.set(name, free);
  for (const each of moved) {
    world.datasets.delete(each.name);
    world.datasets.set(renamed.get(each.name) ?? '', { ...each, name: renamed.get(each.name) ?? '' });
  }
  for (const [at, each] of world.datasets)
    if (each.origin !== undefined && renamed.has(each.origin))
      world.datasets.set(at, { ...each, origin: renamed.get(each.origin) ?? '' });
  const old = world.datasets.get(volume);
  if (old) world.datasets.set(volume, { ...old, origin: renamed.get(origin.name) ?? '' });
  return done();
};
