import { ctime } from './ps.ts';
import { done, fail, lines, must, unknownArgv, type Answer, type Program } from '../program.ts';
import { byName, createDataset, parentDataset } from '../storage.ts';
import type { Dataset, World } from '../world.ts';
import { destroy } from './zfs-destroy.ts';
import { promote } from './zfs-promote.ts';
import { rename } from './zfs-rename.ts';
import { localProperties, sourceOf, valueOf } from './zfs-print.ts';

const PROGRAM = 'zfs';
const missing = (name: string, status = 1): Answer => fail(`cannot open '${name}': dataset does not exist`, status);

interface Request {
  readonly flags: ReadonlySet<string>;
  /** Words after options that take one; -o may come more than once. */
  readonly values: ReadonlyMap<string, readonly string[]>;
  readonly operands: readonly string[];
}

/** Options of a verb: those in `taking` have a word after them. */
const parseRequest = (args: readonly string[], plain: readonly string[], taking: readonly string[] = []): Request => {
  const flags = new Set<string>();
  const values = new Map<string, string[]>();
  let at = 1;
  for (; args[at]?.startsWith('-'); at++) {
    const word = args[at] ?? '';
    if (taking.includes(word)) values.set(word, [...(values.get(word) ?? []), must(PROGRAM, args, ++at, 'value')]);
    else if (plain.includes(word)) flags.add(word);
    else throw unknownArgv(PROGRAM, args, `unknown option ${word}`);
  }
  return { flags, values, operands: args.slice(at) };
};

const one = (args: readonly string[], { operands }: Request): string => {
  if (operands.length !== 1) throw unknownArgv(PROGRAM, args, 'expected one dataset');
  return operands[0] ?? '';
};

const SETTABLE =
  /^(volmode|volblocksize|canmount|volsize|mountpoint|compression|refreservation|readonly|[a-z0-9_.]+:[a-z0-9_.]+)$/;

const properties = (args: readonly string[], words: readonly string[] = []): Map<string, string> => {
  const found = new Map<string, string>();
  for (const word of words) {
    const [key = '', ...value] = word.split('=');
    if (!SETTABLE.test(key) || value.length === 0) throw unknownArgv(PROGRAM, args, `unknown property ${word}`);
    found.set(key, value.join('='));
  }
  return found;
};

const FACTOR: Readonly<Record<string, number>> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

const parseSize = (args: readonly string[], text: string): number => {
  const match = /^(\d+)([kmgt]?)b?$/i.exec(text);
  if (!match) throw unknownArgv(PROGRAM, args, `unknown size ${text}`);
  return Number(match[1]) * (FACTOR[(match[2] ?? '').toLowerCase()] ?? 1);
};

const NAME = /^[A-Za-z][A-Za-z0-9_.:-]*(\/[A-Za-z0-9_.:-]+)*$/;

/** Makes what is missing above with -p, mounted as usual; otherwise answers why not. */
const prepareParent = (
  world: World,
  name: string,
  makeParents: boolean,
  reason: (parent: string) => string,
): string | undefined => {
  const parent = parentDataset(name);
  // unrecorded: the text
  if (parent === undefined || !world.datasets.has(name.split('/')[0] ?? ''))
    return `no such pool '${name.split('/')[0] ?? ''}'`;
  if (world.datasets.has(parent)) return undefined;
  if (!makeParents) return reason(parent);
  const problem = prepareParent(world, parent, true, reason);
  if (problem === undefined) createDataset(world, { name: parent, type: 'filesystem' });
  return problem;
};

const cannotCreate = (name: string, reason: string): Answer => fail(`cannot create '${name}': ${reason}`);

const create = (world: World, args: readonly string[]): Answer => {
  const request = parseRequest(args, ['-p', '-s'], ['-V', '-o']);
  const name = one(args, request);
  if (!NAME.test(name)) throw unknownArgv(PROGRAM, args, `unknown name ${name}`);
  const size = request.values.get('-V')?.[0];
  const given = properties(args, request.values.get('-o'));
  const parents = request.flags.has('-p');
  if (world.datasets.has(name)) return parents ? done() : cannotCreate(name, 'dataset already exists');
  const problem = prepareParent(world, name, parents, () => 'parent does not exist');
  if (problem !== undefined) return cannotCreate(name, problem);
  const volume = size === undefined ? {} : { volumeBytes: parseSize(args, size) };
  createDataset(world, { name, type: size === undefined ? 'filesystem' : 'volume', properties: given, ...volume });
  return done();
};

/** A clone takes nothing from its origin but the size (FACTS 6.1). */
const clone = (world: World, args: readonly string[]): Answer => {
  const request = parseRequest(args, ['-p'], ['-o']);
  const [origin = '', name = '', ...more] = request.operands;
  if (more.length > 0 || !NAME.test(name)) throw unknownArgv(PROGRAM, args, 'expected a snapshot and a dataset');
  const snapshot = world.datasets.get(origin);
  if (snapshot?.type !== 'snapshot') return missing(origin);
  const parents = request.flags.has('-p');
  if (world.datasets.has(name)) return parents ? done() : cannotCreate(name, 'dataset already exists');
  if (name.split('/')[0] !== origin.split('/')[0]) return cannotCreate(name, 'source and target pools differ');
  const problem = prepareParent(world, name, parents, (parent) => `no such parent '${parent}'`);
  if (problem !== undefined) return cannotCreate(name, problem);
  const type = world.datasets.get(origin.split('@')[0] ?? '')?.type ?? 'volume';
  const given = properties(args, request.values.get('-o'));
  createDataset(world, {
    name,
    type,
    properties: given,
    origin,
    volumeBytes: snapshot.volumeBytes,
    content: snapshot.content,
  });
  return done();
};

/** What zfs(8) prints after a snapshot of something missing; exit 2. Recorded. */
const SNAPSHOT_USAGE = [
  'usage:',
  '\tsnapshot [-r] [-o property=value] ... <filesystem|volume>@<snap> ...',
  '',
  'For the property list, run: zfs set|get',
  '',
  'For the delegated permission list, run: zfs allow|unallow',
  '',
  'For further help on a command or topic, run: zfs help [<topic>]',
].join('\n');

const sourcesOf = (world: World, name: string, recursive: boolean): Dataset[] =>
  [...world.datasets.values()].filter(
    (each) => each.type !== 'snapshot' && (each.name === name || (recursive && each.name.startsWith(`${name}/`))),
  );

/** All of them or none, at the same moment. */
const snapshot = (world: World, args: readonly string[]): Answer => {
  const { flags, operands, values } = parseRequest(args, ['-r'], ['-o']);
  const given = properties(args, values.get('-o'));
  if (operands.length === 0 || operands.some((name) => !/^[^@]+@[^@]+$/.test(name)))
    throw unknownArgv(PROGRAM, args, 'expected DATASET@NAME');
  const wanted = operands.map((name) => name.split('@'));
  const absent = wanted.find(([top = '']) => !world.datasets.has(top));
  if (absent) return fail(`cannot open '${absent[0] ?? ''}': dataset does not exist\n${SNAPSHOT_USAGE}`, 2);
  const sources = wanted.flatMap(([top = '', tag = '']) =>
    sourcesOf(world, top, flags.has('-r')).map((source) => ({ source, name: `${source.name}@${tag}` })),
  );
  const taken = sources.find(({ name }) => world.datasets.has(name));
  if (taken) return fail(`cannot create snapshot '${taken.name}': dataset already exists`);
  for (const { source, name } of sources)
    createDataset(world, {
      name,
      type: 'snapshot',
      properties: given,
      volumeBytes: source.volumeBytes,
      content: source.content,
    });
  return done();
};

const chosen = (world: World, request: Request, types: readonly string[], name: string | undefined): Dataset[] =>
  [...world.datasets.values()]
    .filter((each) => types.includes(each.type))
    .filter((each) => {
      if (name === undefined || each.name === name) return true;
      return request.flags.has('-r') && (each.name.startsWith(`${name}/`) || each.name.startsWith(`${name}@`));
    })
    .sort(byName);

const list = (world: World, args: readonly string[]): Answer => {
  const request = parseRequest(args, ['-Hp', '-r'], ['-t', '-o']);
  if (!request.flags.has('-Hp')) throw unknownArgv(PROGRAM, args, 'only -Hp is in the model');
  const columns = request.values.get('-o')?.[0]?.split(',');
  const types = request.values.get('-t')?.[0]?.split(',') ?? ['filesystem', 'volume'];
  const name = request.operands[0];
  if (!columns || request.operands.length > 1) throw unknownArgv(PROGRAM, args, 'expected -o and at most one dataset');
  if (name !== undefined && !world.datasets.has(name)) return missing(name);
  const rows = chosen(world, request, types, name).map((dataset) =>
    columns.map((column) => valueOf(world, dataset, column) ?? unknownColumn(args, column)).join('\t'),
  );
  return done(lines(rows));
};

const unknownColumn = (args: readonly string[], column: string): never => {
  throw unknownArgv(PROGRAM, args, `unknown property ${column}`);
};

/** `get -Hp [-r] [-s local] [-o FIELDS] PROPERTIES DATASET`; `all` means what is local. */
const get = (world: World, args: readonly string[]): Answer => {
  const request = parseRequest(args, ['-Hp', '-r'], ['-s', '-o']);
  const [names = '', name = '', ...more] = request.operands;
  const source = request.values.get('-s')?.[0];
  const isLocal = source === 'local';
  if (
    !request.flags.has('-Hp') ||
    more.length > 0 ||
    (source !== undefined && !isLocal) ||
    (names === 'all' && !isLocal)
  )
    throw unknownArgv(PROGRAM, args, 'expected get -Hp [-r] [-s local] [-o FIELDS] PROPERTIES DATASET');
  if (!world.datasets.has(name)) return missing(name);
  const fields = request.values.get('-o')?.[0]?.split(',') ?? ['name', 'property', 'value', 'source'];
  const rows = chosen(world, request, ['filesystem', 'volume', 'snapshot'], name).flatMap((dataset) => {
    const wanted = names === 'all' ? localProperties(dataset).map(([property]) => property) : names.split(',');
    return wanted
      .filter((property) => !isLocal || sourceOf(dataset, property) === 'local')
      .map((property) => {
        const value =
          localProperties(dataset).find(([each]) => each === property)?.[1] ?? valueOf(world, dataset, property);
        const row: Readonly<Record<string, string>> = {
          name: dataset.name,
          property,
          value: value ?? unknownColumn(args, property),
          source: sourceOf(dataset, property),
        };
        return fields.map((field) => row[field] ?? unknownColumn(args, field)).join('\t');
      });
  });
  return done(lines(rows));
};

const set = (world: World, args: readonly string[]): Answer => {
  const [assignment = '', name = '', ...more] = args.slice(1);
  if (more.length > 0) throw unknownArgv(PROGRAM, args, 'expected one property and one dataset');
  const given = properties(args, [assignment]);
  const dataset = world.datasets.get(name);
  if (!dataset) return missing(name);
  for (const [key, value] of given)
    if (key === 'volsize') dataset.volumeBytes = parseSize(args, value);
    else dataset.properties.set(key, value);
  return done();
};

const hold = (world: World, args: readonly string[]): Answer => {
  const [tag = '', ...names] = args.slice(1);
  if (names.length === 0 || tag.startsWith('-')) throw unknownArgv(PROGRAM, args, 'expected a tag and snapshots');
  for (const name of names) {
    const dataset = world.datasets.get(name);
    if (!dataset) return missing(name);
    // unrecorded: both texts
    if (args[0] === 'hold' && dataset.holds.has(tag))
      return fail(`cannot hold snapshot '${name}': tag already exists on this dataset`);
    if (args[0] === 'release' && !dataset.holds.has(tag))
      return fail(`cannot release hold from snapshot '${name}': no such tag on this dataset`);
    if (args[0] === 'hold') dataset.holds.set(tag, world.clock.now());
    else dataset.holds.delete(tag);
  }
  return done();
};

const holds = (world: World, args: readonly string[]): Answer => {
  const request = parseRequest(args, ['-H']);
  const dataset = world.datasets.get(one(args, request));
  if (!request.flags.has('-H')) throw unknownArgv(PROGRAM, args, 'only -H is in the model');
  if (!dataset) return missing(one(args, request));
  // `Mon Nov 23 01:32 2026`: no seconds.
  const when = (ms: number): string => ctime(ms).replace(/:\d\d (\d{4})$/, ' $1');
  return done(lines([...dataset.holds].map(([tag, ms]) => `${dataset.name}\t${tag}\t${when(ms)}`)));
};

/** Succeeds under a running bhyve as well, and swaps its disk (FACTS S.15). */
const rollback = (world: World, args: readonly string[]): Answer => {
  const name = one(args, parseRequest(args, []));
  const target = world.datasets.get(name);
  const dataset = world.datasets.get(name.split('@')[0] ?? '');
  if (target?.type !== 'snapshot' || !dataset) return missing(name);
  const newer = [...world.datasets.values()].some(
    (each) => each.name.startsWith(`${dataset.name}@`) && each.txg > target.txg,
  );
  // unrecorded
  if (newer) return fail(`cannot rollback to '${name}': more recent snapshots or bookmarks exist`);
  dataset.volumeBytes = target.volumeBytes;
  dataset.content = target.content;
  dataset.rollbacks += 1;
  return done();
};

const destroyNamed = (world: World, args: readonly string[]): Answer => {
  const request = parseRequest(args, ['-r']);
  return destroy(world, one(args, request), request.flags.has('-r'));
};

const renameNamed = (world: World, args: readonly string[]): Answer => {
  const [from = '', to = '', ...more] = args.slice(1);
  if (more.length > 0 || from.startsWith('-') || !NAME.test(to))
    throw unknownArgv(PROGRAM, args, 'expected two datasets');
  return rename(world, from, to);
};

const VERBS: Readonly<Record<string, (world: World, args: readonly string[]) => Answer>> = {
  create,
  clone,
  snapshot,
  destroy: destroyNamed,
  list,
  get,
  set,
  hold,
  release: hold,
  holds,
  rollback,
  rename: renameNamed,
  promote: (world, args) => promote(world, one(args, parseRequest(args, []))),
};

/** zfs(8), as far as volumes, snapshots and clones go. */
export const zfs: Program = (world, args) => {
  const verb = VERBS[args[0] ?? ''];
  if (!verb) throw unknownArgv(PROGRAM, args, 'unknown verb');
  return verb(world, args);
};
