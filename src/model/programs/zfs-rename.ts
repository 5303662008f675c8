import { removeDevice } from '../devices.ts';
import { done, fail, type Answer } from '../program.ts';
import { isOpen, offerVolume, parentDataset } from '../storage.ts';
import type { Dataset, World } from '../world.ts';

const refused = (name: string, to: string, reason: string): Answer =>
  fail(`cannot rename '${name}' to '${to}': ${reason}`);

const move = (world: World, dataset: Dataset, name: string): void => {
  world.datasets.delete(dataset.name);
  removeDevice(world, `zvol/${dataset.name}`);
  const moved: Dataset = { ...dataset, name };
  world.datasets.set(name, moved);
  offerVolume(world, moved);
};

const follow = (world: World, from: string, to: string): void => {
  for (const [name, dataset] of world.datasets)
    if (dataset.origin?.startsWith(`${from}/`) || dataset.origin?.startsWith(`${from}@`))
      world.datasets.set(name, { ...dataset, origin: to + dataset.origin.slice(from.length) });
};

/** A dataset with all below it, its snapshots and their holds; clones follow their origins. unrecorded: the texts */
export const rename = (world: World, from: string, to: string): Answer => {
  const dataset = world.datasets.get(from);
  if (!dataset) return fail(`cannot open '${from}': dataset does not exist`);
  if (world.datasets.has(to)) return refused(from, to, 'dataset already exists');
  if (!world.datasets.has(parentDataset(to) ?? '')) return refused(from, to, 'parent does not exist');
  const all = [...world.datasets.values()].filter(
    ({ name }) => name === from || name.startsWith(`${from}/`) || name.startsWith(`${from}@`),
  );
  const busy = all.find((each) => isOpen(world, each));
  if (busy) return refused(from, to, 'dataset is busy');
  for (const each of all) move(world, each, to + each.name.slice(from.length));
  follow(world, from, to);
  return done();
};
