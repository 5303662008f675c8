import { createHash } from 'node:crypto';
import type { Access, ArchiveListing, FileDigest, FileStat, PackEntry } from '../base/host.ts';
import { BrigError } from '../base/errors.ts';
import { parseArchive, renderArchive } from './archive.ts';
import { find, findDirectory, isWithin, makeDirectories, newFile, normal, parentOf, put, take } from './files.ts';
import type { FileNode, Node, World } from './world.ts';

const CODES: Readonly<Record<string, string>> = {
  'No such file or directory': 'ENOENT',
  'File exists': 'EEXIST',
  'Not a directory': 'ENOTDIR',
  'Is a directory': 'EISDIR',
  'Directory not empty': 'ENOTEMPTY',
  'Read-only file system': 'EROFS',
  'Device busy': 'EBUSY',
};

/** As node(1) words it. */
const failed = (attempt: string, reason: string): BrigError =>
  new BrigError('host.failed', `${attempt}: ${CODES[reason] ?? 'EIO'}: ${reason.toLowerCase()}`);

const check = (attempt: string, reason: string | undefined): void => {
  if (reason !== undefined) throw failed(attempt, reason);
};

const ownerOf = ({ mode, uid, gid }: Access): Access => ({ mode, uid, gid });

const place = (world: World, attempt: string, path: string, node: FileNode): void => {
  const there = find(world, path);
  if (there?.kind === 'directory') throw failed(attempt, 'Is a directory');
  check(attempt, put(world, path, node));
};

export const readFile = (world: World, path: string): string | undefined => {
  const node = find(world, path);
  if (!node) return undefined;
  if (node.kind === 'directory') throw failed(`read ${path}`, 'Is a directory');
  if (node.kind !== 'file') throw new BrigError('model.argv', `model readFile ${path}: a ${node.kind} would not end`);
  return Buffer.from(node.content).toString('utf8');
};

export const statFile = (world: World, path: string): FileStat | undefined => {
  const node = find(world, path);
  if (!node) return undefined;
  const { kind, mode, uid, gid } = node;
  const isFile = node.kind === 'file';
  return {
    kind,
    mode,
    uid,
    gid,
    bytes: isFile ? node.bytes : 0,
    modifiedMs: isFile ? (node.modifiedMs ?? 0) : 0,
  };
};

/** As of the whole file, but a hole counts by its length: nobody wants to hash 12 MB of zeros for each model. */
const sha256 = ({ content, bytes }: FileNode): string => {
  const hash = createHash('sha256').update(content);
  return (bytes > content.length ? hash.update(`hole of ${bytes - content.length}`) : hash).digest('hex');
};

const regular = (world: World, path: string): FileNode | undefined => {
  const node = find(world, path);
  if (!node || node.kind === 'file') return node;
  throw new BrigError('host.failed', `read ${path}: not a file`);
};

export const digest = (world: World, path: string): FileDigest | undefined => {
  const node = regular(world, path);
  return node && { sha256: node.sha256 ?? sha256(node), bytes: node.bytes, mode: node.mode };
};

/** Nothing here changes between two looks but by a change of the content. */
export const identity = (world: World, path: string): string | undefined => {
  const node = regular(world, path);
  return node && `${node.bytes}:${node.modifiedMs ?? 0}:${sha256(node)}`;
};

export const head = (world: World, path: string, bytes: number): Uint8Array | undefined => {
  const node = regular(world, path);
  return (
    node && Uint8Array.from(Buffer.concat([node.content, Buffer.alloc(bytes)]).subarray(0, Math.min(bytes, node.bytes)))
  );
};

export const readArchive = (world: World, path: string): ArchiveListing => {
  const node = source(world, `unpack ${path}`, path);
  return parseArchive(Buffer.from(node.content).toString()) ?? { entries: [], trouble: 'Unknown frame descriptor' };
};

export const random = (world: World, bytes: number): Uint8Array =>
  Uint8Array.from({ length: bytes }, () => world.random(256));

export const writeFile = (world: World, path: string, content: string | Uint8Array, access: Access): void =>
  place(world, `write ${path}`, path, newFile(Uint8Array.from(Buffer.from(content)), ownerOf(access)));

const source = (world: World, attempt: string, path: string): FileNode => {
  const node = find(world, path);
  if (!node) throw failed(attempt, 'No such file or directory');
  if (node.kind === 'directory') throw failed(attempt, 'Is a directory');
  if (node.kind !== 'file') throw new BrigError('model.argv', `model ${attempt}: a ${node.kind} is not copied`);
  return node;
};

export const copyFile = (world: World, from: string, to: string, access: Access, growTo?: number): void => {
  const attempt = `copy ${from} to ${to}`;
  const node = source(world, attempt, from);
  if (growTo !== undefined && node.bytes > growTo)
    throw new BrigError('host.failed', `${attempt}: expected at most ${growTo} bytes, got ${node.bytes}`);
  place(world, attempt, to, {
    ...node,
    ...ownerOf(access),
    content: node.content.slice(),
    bytes: growTo ?? node.bytes,
  });
};

export const allocate = (world: World, path: string, bytes: number, access: Access): void => {
  if (find(world, path)) throw failed(`create ${path}`, 'File exists');
  place(world, `create ${path}`, path, newFile(new Uint8Array(), ownerOf(access), bytes));
};

export const pack = (world: World, entries: readonly PackEntry[], to: string, access: Access): void => {
  const attempt = `pack ${to}`;
  const archive = entries.map(({ path, mode, from }) => {
    const node = from === undefined ? newFile(new Uint8Array(), ownerOf(access)) : source(world, attempt, from);
    const kind = from === undefined ? ('directory' as const) : ('file' as const);
    return { path, kind, mode, bytes: node.bytes, sha256: sha256(node) };
  });
  const content = Uint8Array.from(Buffer.from(renderArchive(archive)));
  // Compressed to about a third, as recorded.
  const bytes = Math.ceil(archive.reduce((sum, each) => sum + each.bytes + 512, 0) / 3);
  place(world, attempt, to, newFile(content, ownerOf(access), Math.max(bytes, content.length)));
};

export const mkdir = (world: World, path: string, access: Access): void => {
  const attempt = `create ${path}`;
  check(attempt, makeDirectories(world, parentOf(normal(path)), { mode: 0o755, uid: 0, gid: 0 }));
  check(attempt, makeDirectories(world, path, ownerOf(access)));
  const directory = findDirectory(world, path);
  if (directory) Object.assign(directory, ownerOf(access));
};

const isMounted = (world: World, path: string): string | undefined =>
  world.mounts.find((mount) => isWithin(mount.node, path))?.node;

/** A tree goes whole or not at all: what is mounted in it is never emptied. */
export const remove = (world: World, path: string): void => {
  const clean = normal(path);
  if (!find(world, clean)) return;
  const mounted = isMounted(world, clean);
  if (mounted !== undefined)
    throw new BrigError('host.failed', `remove ${mounted}: something is mounted there`, { retry: 'operator' });
  check(`remove ${path}`, take(world, clean));
};

export const rmdir = (world: World, path: string): void => {
  const node: Node | undefined = find(world, path);
  if (!node) return;
  const attempt = `remove ${path}`;
  if (node.kind !== 'directory') throw failed(attempt, 'Not a directory');
  if (node.entries.size > 0) throw failed(attempt, 'Directory not empty');
  remove(world, path);
};
