import { parseArchive } from '../archive.ts';
import { ROOT_DIRECTORIES, ROOT_FILES } from '../base-system.ts';
import { newView } from '../devices.ts';
import { attach, find, newDirectory, newFile, normal } from '../files.ts';
import { done, fail, lines, must, unknownArgv, type Answer, type Program } from '../program.ts';
import type { DirectoryNode, FileNode, Mount, Node, World } from '../world.ts';

const PROGRAM = 'mount';
const ROOT = { mode: 0o755, uid: 0, gid: 0 };

interface Request {
  readonly type: string;
  readonly options: readonly string[];
  readonly special: string;
  readonly node: string;
}

const parseRequest = (args: readonly string[]): Request => {
  if (args[0] !== '-t') throw unknownArgv(PROGRAM, args, 'expected -t or -p');
  const type = must(PROGRAM, args, 1, 'type');
  const hasOptions = args[2] === '-o';
  const options = hasOptions ? must(PROGRAM, args, 3, 'options').split(',') : [];
  const rest = args.slice(hasOptions ? 4 : 2);
  const special = must(PROGRAM, rest, 0, 'special');
  const node = must(PROGRAM, rest, 1, 'mount point');
  if (rest.length !== 2) throw unknownArgv(PROGRAM, args, 'too many words');
  return { type, options, special: type === 'nullfs' ? normal(special) : special, node: normal(node) };
};

/** unrecorded: mount(8) of a file system with no mount program of its own */
const missingDirectory = (node: string): Answer => fail(`mount: ${node}: No such file or directory`);

const insert = (top: DirectoryNode, path: string, node: Node): void => {
  const names = path.split('/').filter(Boolean);
  const last = names.pop();
  let directory = top;
  for (const name of names) {
    const there = directory.entries.get(name);
    const next = there?.kind === 'directory' ? there : newDirectory(ROOT);
    directory.entries.set(name, next);
    directory = next;
  }
  if (last !== undefined) directory.entries.set(last, node);
};

const unpack = (archive: FileNode): DirectoryNode => {
  const top = newDirectory(ROOT);
  const file = (mode: number, bytes: number): FileNode => newFile(new Uint8Array(), { mode, uid: 0, gid: 0 }, bytes);
  const packed = parseArchive(Buffer.from(archive.content).toString());
  if (packed)
    for (const { path, kind, mode, bytes, sha256 } of packed.entries)
      insert(top, path, kind === 'file' ? { ...file(mode, bytes), sha256 } : newDirectory({ ...ROOT, mode }));
  else {
    for (const path of ROOT_FILES) insert(top, path, file(0o555, 1));
    for (const path of ROOT_DIRECTORIES) insert(top, path, newDirectory(ROOT));
  }
  return top;
};

type Kind = (
  world: World,
  request: Request,
  args: readonly string[],
) => Omit<Mount, 'special' | 'node' | 'type' | 'pass'> | Answer;

const tarfs: Kind = (world, { special, node, options }, args) => {
  if (options.length > 0) throw unknownArgv(PROGRAM, args, 'tarfs without options only');
  const archive = find(world, special);
  // unrecorded: a missing archive
  if (!archive) return fail(`mount: ${special}: No such file or directory`);
  if (archive.kind !== 'file') return fail(`mount: ${node}: Invalid argument`);
  if (find(world, node)?.kind !== 'directory') return missingDirectory(node);
  world.modules.add('tarfs');
  return { flags: 'ro', readOnly: true, root: unpack(archive) };
};

/** As mount -p has them. Source: sbin/mount/mount.c, flags2opts. */
const flagsOf = (options: readonly string[]): string =>
  [options.includes('ro') ? 'ro' : 'rw', ...['noexec', 'nosuid'].filter((flag) => options.includes(flag))].join(',');

const tmpfs: Kind = (world, { node, options }, args) => {
  const known = options.every((option) => /^(size=\d+[kmgt]?|mode=[0-7]{3,4}|noexec|nosuid)$/i.test(option));
  if (!known) throw unknownArgv(PROGRAM, args, 'tmpfs takes size= and mode=');
  if (find(world, node)?.kind !== 'directory') return missingDirectory(node);
  const mode = options.find((option) => option.startsWith('mode='))?.slice('mode='.length);
  const root = newDirectory({ mode: mode === undefined ? 0o755 : Number.parseInt(mode, 8), uid: 0, gid: 0 });
  return { flags: flagsOf(options), readOnly: false, root };
};

const nullfs: Kind = (world, { special, node, options }, args) => {
  if (options.some((option) => !['ro', 'rw', 'noexec', 'nosuid'].includes(option)))
    throw unknownArgv(PROGRAM, args, 'nullfs takes ro, rw, noexec and nosuid');
  const [source, target] = [special, node].map((path) => find(world, path));
  const missing = source ? (target ? undefined : node) : special;
  if (!source || !target) return fail(`mount_nullfs: ${missing ?? ''}: No such file or directory`, 64);
  // unrecorded: a file over a directory and the other way round
  if (source.kind !== target.kind) return fail(`mount_nullfs: ${node}: Not a directory`);
  const readOnly = options.includes('ro');
  return { flags: flagsOf(options), readOnly, root: source };
};

const devfs: Kind = (world, { node, options }, args) => {
  const ruleset = /^ruleset=(\d{1,5})$/.exec(options[0] ?? 'ruleset=0')?.[1];
  if (ruleset === undefined || options.length > 1) throw unknownArgv(PROGRAM, args, 'devfs takes ruleset=');
  if (find(world, node)?.kind !== 'directory') return missingDirectory(node);
  return { flags: 'rw', readOnly: false, root: newDirectory(ROOT), devfs: newView(world, Number(ruleset)) };
};

const KINDS: Readonly<Record<string, Kind>> = { tarfs, tmpfs, nullfs, devfs };

/** A column of `mount -p`: tabs up to column 24. Recorded. */
const column = (text: string): string =>
  `${text}${text.length < 8 ? '\t' : ''}${text.length < 16 ? '\t' : ''}${text.length < 24 ? '\t' : ' '}`;

const renderMount = ({ special, node, type, flags, pass }: Mount): string =>
  `${column(special)}${column(node)}${type}\t${flags}${flags.length < 8 ? '\t' : ' '}\t${pass}`;

/** mount(8): the four types that brig uses, and -p. */
export const mount: Program = (world, args) => {
  if (args[0] === '-p' && args.length === 1) return done(lines(world.mounts.map(renderMount)));
  const request = parseRequest(args);
  const kind = KINDS[request.type];
  if (!kind) throw unknownArgv(PROGRAM, args, `unknown type ${request.type}`);
  const made = kind(world, request, args);
  if ('status' in made) return made;
  const { special, node, type } = request;
  attach(world, { special, node, type, pass: '0 0', ...made });
  return done();
};
