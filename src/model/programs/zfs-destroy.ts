import { done, fail, type Answer } from '../program.ts';
import { byName, isOpen, parentDataset, removeDataset } from '../storage.ts';
import type { Dataset, World } from '../world.ts';

const below = (world: World, name: string): Dataset[] =>
  [...world.datasets.values()].filter((each) => each.name.startsWith(`${name}/`) || each.name.startsWith(`${name}@`));

const clonesOf = (world: World, gone: readonly Dataset[]): Dataset[] => {
  const names = new Set(gone.map((each) => each.name));
  return [...world.datasets.values()].filter(
    (each) => each.origin !== undefined && names.has(each.origin) && !names.has(each.name),
  );
};

const refused = (name: string, reason: string): Answer => fail(`cannot destroy '${name}': ${reason}`);

const listing = (datasets: readonly Dataset[]): string =>
  [...datasets]
    .sort(byName)
    .map((each) => each.name)
    .join('\n');

const HELD = "it's being held. Run 'zfs holds -r";

/** Why not, or undefined. */
const refuse = (world: World, dataset: Dataset, gone: readonly Dataset[], recursive: boolean): Answer | undefined => {
  const { name, type } = dataset;
  const children = gone.filter((each) => each !== dataset);
  if (children.length > 0 && !recursive)
    return refused(name, `${type} has children\nuse '-r' to destroy the following datasets:\n${listing(children)}`);
  const clones = clonesOf(world, gone);
  if (clones.length > 0)
    return refused(
      name,
      `${type} has dependent clones\nuse '-R' to destroy the following datasets:\n${listing(clones)}`,
    );
  const held = gone.find((each) => each.holds.size > 0);
  if (held) return fail(`cannot destroy snapshot ${held.name}: ${HELD} ${held.name}' to see holders.`);
  const busy = gone.find((each) => isOpen(world, each));
  return busy ? refused(busy.name, 'dataset is busy') : undefined;
};

/** `zfs destroy [-r] NAME`; of a snapshot, -r means those of the same name below. */
export const destroy = (world: World, name: string, recursive: boolean): Answer => {
  const dataset = world.datasets.get(name);
  const [top = '', snapshot] = name.split('@');
  const same = (each: Dataset): boolean =>
    each.name.endsWith(`@${snapshot ?? ''}`) && `${parentDataset(each.name) ?? ''}/`.startsWith(`${top}/`);
  if (snapshot !== undefined && recursive) return destroyAll(world, [...world.datasets.values()].filter(same), name);
  // unrecorded; libzfs
  if (!dataset && snapshot !== undefined && world.datasets.has(top))
    return fail('could not find any snapshots to destroy; check snapshot names.');
  if (!dataset) return fail(`cannot open '${name}': dataset does not exist`);
  const gone = [...below(world, name), dataset];
  const reason = refuse(world, dataset, gone, recursive);
  if (reason) return reason;
  for (const each of gone) removeDataset(world, each);
  return done();
};

const destroyAll = (world: World, snapshots: readonly Dataset[], name: string): Answer => {
  if (snapshots.length === 0) return fail(`cannot open '${name}': dataset does not exist`);
  for (const each of snapshots) {
    const reason = refuse(world, each, [each], false);
    if (reason) return reason;
  }
  for (const each of snapshots) removeDataset(world, each);
  return done();
};
