import { findDevice } from './devices.ts';
import type { DirectoryNode, FifoNode, FileNode, Mount, Node, Owner, World } from './world.ts';

/** One slash between names, none at the end. */
export const normal = (path: string): string =>
  /^(\/[^/]+)+$/.test(path) ? path : `/${path.split('/').filter(Boolean).join('/')}`;

export const parentOf = (path: string): string => normal(path.slice(0, path.lastIndexOf('/')));
export const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** Whether `path` is `top` or below it. */
export const isWithin = (path: string, top: string): boolean =>
  path === top || path.startsWith(top === '/' ? '/' : `${top}/`);

/** Mounts a file system: it covers what is at its mount point. */
export const attach = (world: World, mount: Mount): void => {
  world.mounts.push(mount);
  world.mountsAt.set(mount.node, [...(world.mountsAt.get(mount.node) ?? []), mount]);
  if (!mount.devfs) return;
  const { ruleset } = mount.devfs;
  world.devfsMounts.set(ruleset, (world.devfsMounts.get(ruleset) ?? new Set()).add(mount));
};

export const detach = (world: World, gone: Mount): void => {
  world.mounts = world.mounts.filter((mount) => mount !== gone);
  if (gone.devfs) world.devfsMounts.get(gone.devfs.ruleset)?.delete(gone);
  const left = (world.mountsAt.get(gone.node) ?? []).filter((mount) => mount !== gone);
  if (left.length > 0) world.mountsAt.set(gone.node, left);
  else world.mountsAt.delete(gone.node);
};

/** The file system that a path is in: the deepest mount point, and of several there the last. */
const mountOf = (world: World, path: string): Mount => {
  for (let at = path; ; at = parentOf(at)) {
    const found = world.mountsAt.get(at)?.at(-1);
    if (found) return found;
    if (at === '/') throw new Error('the root file system is always mounted');
  }
};

const walk = (top: Node, names: readonly string[]): Node | undefined => {
  let node: Node | undefined = top;
  for (const name of names) node = node?.kind === 'directory' ? node.entries.get(name) : undefined;
  return node;
};

/** What is at an absolute path, through all mounts; `jid` looks, which matters in a devfs. */
export const find = (world: World, path: string, jid = 0): Node | undefined => {
  const clean = normal(path);
  const mount = mountOf(world, clean);
  const rest = clean.slice(mount.node.length).split('/').filter(Boolean);
  return mount.devfs ? findDevice(world, mount, rest.join('/'), jid) : walk(mount.root, rest);
};

export const findDirectory = (world: World, path: string): DirectoryNode | undefined => {
  const node = find(world, path);
  return node?.kind === 'directory' ? node : undefined;
};

/** Names in a directory, mount points of other file systems included: they cover entries that exist. */
export const listNames = (world: World, path: string): string[] | undefined => {
  const directory = findDirectory(world, path);
  return directory && [...directory.entries.keys()].sort();
};

export const newDirectory = (owner: Owner): DirectoryNode => ({ kind: 'directory', ...owner, entries: new Map() });

export const newFile = (content: Uint8Array, owner: Owner, bytes = content.length): FileNode => ({
  kind: 'file',
  ...owner,
  content,
  bytes,
});

export const newFifo = (owner: Owner): FifoNode => ({
  kind: 'fifo',
  ...owner,
  pending: [],
  pendingBytes: 0,
  readers: [],
  holders: 0,
});

/** Tells those who watch a directory, once whoever changed it is done. */
const changed = (world: World, directory: string): void => {
  for (const listener of world.watchers.get(directory) ?? [])
    queueMicrotask(() => {
      if (world.watchers.get(directory)?.has(listener)) listener();
    });
};

/** Puts a node at a path. Answers the errno text when it cannot. */
export const put = (world: World, path: string, node: Node): string | undefined => {
  const clean = normal(path);
  const directory = findDirectory(world, parentOf(clean));
  const mount = mountOf(world, parentOf(clean));
  if (!directory) return find(world, parentOf(clean)) ? 'Not a directory' : 'No such file or directory';
  if (mount.readOnly || mount.devfs) return 'Read-only file system';
  if (world.mountsAt.has(clean)) return 'Device busy';
  if (node.kind === 'file') node.modifiedMs = world.clock.now();
  directory.entries.set(nameOf(clean), node);
  changed(world, parentOf(clean));
  return undefined;
};

/** Takes a node out of its directory. Answers the errno text when it cannot. */
export const take = (world: World, path: string): string | undefined => {
  const clean = normal(path);
  const directory = findDirectory(world, parentOf(clean));
  if (!directory?.entries.has(nameOf(clean))) return 'No such file or directory';
  const mount = mountOf(world, parentOf(clean));
  if (mount.readOnly || mount.devfs) return 'Read-only file system';
  directory.entries.delete(nameOf(clean));
  changed(world, parentOf(clean));
  return undefined;
};

/** Directories down to the path, as far as they are missing. */
export const makeDirectories = (world: World, path: string, owner: Owner): string | undefined => {
  const names = normal(path).split('/').filter(Boolean);
  for (let i = 1; i <= names.length; i++) {
    const each = `/${names.slice(0, i).join('/')}`;
    const there = find(world, each);
    if (there && there.kind !== 'directory') return i === names.length ? 'File exists' : 'Not a directory';
    const problem = there ? undefined : put(world, each, newDirectory({ ...owner }));
    if (problem !== undefined) return problem;
  }
  return undefined;
};

export interface Identity {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
}

const mayUse = (node: Owner, who: Identity, bit: number): boolean => {
  if (who.uid === 0) return true;
  const mine = [who.gid, ...who.groups].includes(node.gid);
  const shift = node.uid === who.uid ? 6 : mine ? 3 : 0;
  return ((node.mode >> shift) & bit) === bit;
};

export const READ = 4;
export const WRITE = 2;
const SEARCH = 1;

/** Looks up a path inside a jail's root as some identity there. A text is the errno. */
export const openIn = (
  world: World,
  jail: { readonly path: string; readonly jid: number },
  path: string,
  who: Identity,
  bits: number,
): Node | string => {
  const clean = normal(path);
  const names = clean.split('/').filter(Boolean);
  for (let i = 0; i < names.length; i++) {
    const directory = find(world, normal(`${jail.path}/${names.slice(0, i).join('/')}`), jail.jid);
    if (directory?.kind !== 'directory') return directory ? 'Not a directory' : 'No such file or directory';
    if (!mayUse(directory, who, SEARCH)) return 'Permission denied';
  }
  const full = normal(`${jail.path}${clean}`);
  const node = find(world, full, jail.jid);
  if (!node) return 'No such file or directory';
  if (!mayUse(node, who, bits)) return 'Permission denied';
  const isData = node.kind !== 'device' && node.kind !== 'fifo';
  return (bits & WRITE) !== 0 && isData && mountOf(world, full).readOnly ? 'Read-only file system' : node;
};
