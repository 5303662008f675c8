import { addDevice, removeDevice } from './devices.ts';
import { attach, detach, makeDirectories, newDirectory, take } from './files.ts';
import type { Dataset, World } from './world.ts';

const OWNER = { mode: 0o755, uid: 0, gid: 0 };

/** `P/a` of `P/a/b` and of `P/a@s`; undefined for a pool. */
export const parentDataset = (name: string): string | undefined => {
  const at = Math.max(name.lastIndexOf('/'), name.lastIndexOf('@'));
  return at < 0 ? undefined : name.slice(0, at);
};

/** A file system shows at its own name, unless it is not to be mounted. */
export const mountDataset = (world: World, { name, type, properties, root }: Dataset): void => {
  if (type !== 'filesystem' || properties.get('canmount') === 'off' || !root) return;
  makeDirectories(world, `/${name}`, OWNER);
  attach(world, {
    special: name,
    node: `/${name}`,
    type: 'zfs',
    flags: 'rw,nfsv4acls',
    pass: '0 0',
    readOnly: false,
    root,
  });
};

/** The node of a volume, made by the time the command returns with volmode=dev (FACTS 6.1). */
export const offerVolume = (world: World, { name, type, properties }: Dataset): void => {
  if (type !== 'volume' || properties.get('volmode') === 'none') return;
  addDevice(world, { name: `zvol/${name}`, mode: 0o640, uid: 0, gid: 5 });
};

interface NewDataset {
  readonly name: string;
  readonly type: Dataset['type'];
  readonly properties?: ReadonlyMap<string, string>;
  readonly origin?: string;
  readonly volumeBytes?: number;
  readonly content?: Uint8Array;
}

export const createDataset = (world: World, what: NewDataset): Dataset => {
  const dataset: Dataset = {
    name: what.name,
    type: what.type,
    properties: new Map(what.properties),
    volumeBytes: what.volumeBytes ?? 0,
    content: what.content ?? new Uint8Array(),
    createdMs: world.clock.now(),
    txg: world.nextTxg(),
    holds: new Map(),
    rollbacks: 0,
    ...(what.origin === undefined ? {} : { origin: what.origin }),
    ...(what.type === 'filesystem' ? { root: newDirectory(OWNER) } : {}),
  };
  world.datasets.set(dataset.name, dataset);
  mountDataset(world, dataset);
  offerVolume(world, dataset);
  return dataset;
};

export const removeDataset = (world: World, { name, type }: Dataset): void => {
  world.datasets.delete(name);
  const mount = world.mountsAt.get(`/${name}`)?.find((each) => each.type === 'zfs' && each.special === name);
  if (mount) detach(world, mount);
  removeDevice(world, `zvol/${name}`);
  if (type === 'filesystem') take(world, `/${name}`);
};

/** Somebody has the volume open. */
export const isOpen = (world: World, { name }: Dataset): boolean =>
  [...world.processes.values()].some((process) => process.opened.has(`/dev/zvol/${name}`));

/** By name; a snapshot comes right after what it is of, in the order of creation. Source: zfs_sort of zfs(8). */
export const byName = (a: Dataset, b: Dataset): number => {
  const [left = '', right = ''] = [a, b].map((each) => each.name.split('@')[0]);
  if (left !== right) return left < right ? -1 : 1;
  if (a.type !== 'snapshot') return -1;
  return b.type === 'snapshot' ? a.txg - b.txg : 1;
};
