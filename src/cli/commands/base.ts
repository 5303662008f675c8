import { resolve } from 'node:path';
import { BrigError } from '../../base/errors.ts';
import { escapeControls, renderAge } from '../../base/units.ts';
import type { BaseReport, BaseView } from '../../platform/bases.ts';
import type { SignedManifest } from '../../spec/manifest.ts';
import { print, printJson, type Call, type CliCommand } from '../command.ts';
import { firstLine, paint, table } from '../render.ts';

/** Enough of a digest to type. */
const short = (digest: string): string => digest.slice(0, 12);

const mebibytes = (bytes: number | undefined): string =>
  bytes === undefined ? '-' : `${(bytes / 2 ** 20).toFixed(1)}M`;

/** One line for each base. Units: milliseconds in. */
export const renderBases = (bases: readonly BaseView[], nowMs: number): string => {
  const head = ['DIGEST', 'RELEASE', 'ARCH', 'FILES', 'SIZE', 'BUILT', 'CURRENT', 'VERIFIED', 'USED BY'];
  const rows = bases.map((base) => [
    short(base.digest),
    base.release ?? '-',
    base.arch ?? '-',
    base.files === undefined ? '-' : String(base.files),
    mebibytes(base.bytes),
    base.builtMs === undefined ? '-' : `${renderAge(nowMs - base.builtMs)} ago`,
    base.current ? 'yes' : '-',
    base.verified ? 'yes' : 'no',
    base.usedBy.join(',') || '-',
  ]);
  const [heading = [], ...lines] = table([head, ...rows]);
  const reasons = bases.flatMap(({ digest, problem }) =>
    problem === undefined ? [] : [paint('red', `${short(digest)}: ${firstLine(problem)}`)],
  );
  return [paint('bold', heading.join('  ')), ...lines.map((line) => line.join('  ').trimEnd()), ...reasons].join('\n');
};

export const renderManifest = ({ manifest, signature }: SignedManifest): string => {
  const words: [string, string][] = [
    ['digest', manifest.digest],
    ['size', `${manifest.bytes} bytes`],
    ['platform', `${manifest.platform} ${manifest.arch}`],
    ['release', manifest.release],
    ['signed by', `${signature.algorithm} key ${signature.key}`],
    ...manifest.devices.map((path): [string, string] => ['device', path]),
  ];
  const width = Math.max(...words.map(([key]) => key.length));
  const entries = [
    ...manifest.directories.map(({ path, mode }) => ({ path, cells: [mode, '-', '-'] })),
    ...manifest.files.map(({ path, mode, bytes, sha256 }) => ({ path, cells: [mode, String(bytes), sha256] })),
  ].sort((a, b) => (a.path < b.path ? -1 : 1));
  const rows = table([['MODE', 'BYTES', 'SHA-256', 'PATH'], ...entries.map(({ path, cells }) => [...cells, path])]);
  return [...words.map(([key, value]) => `${key.padEnd(width)}  ${value}`), ...rows.map((row) => row.join('  '))].join(
    '\n',
  );
};

export const renderReport = ({ digest, files, problems }: BaseReport): string =>
  problems.length === 0
    ? `${short(digest)}: ${files} files, all as signed`
    : problems.map((problem) => `${short(digest)}: ${escapeControls(problem)}`).join('\n');

type Verb = (call: Call, name: string | undefined) => Promise<void>;

/** The answer as JSON, or as a person reads it. */
const show = <T>(call: Call, value: T, render: (value: T) => string): void => {
  if (call.json) printJson(value);
  else print(render(value));
};

const build: Verb = async (call) => {
  const { key } = call.values;
  const path = typeof key === 'string' ? resolve(key) : undefined;
  const built = await call.client.buildBase(path);
  show(call, built, ({ digest, files = 0, bytes, key: id = '' }) =>
    [short(digest), `${files} files, ${mebibytes(bytes)}`, `signed by key ${id}`].join('  '),
  );
  if (!built.verified) throw new BrigError('image.invalid', `build base: ${built.problem ?? 'not as signed'}`);
};

const verify: Verb = async (call, name = 'current') => {
  const report = await call.client.verifyBase(name);
  show(call, report, renderReport);
  if (!report.ok) process.exitCode = 65;
};

const remove: Verb = async (call, name) => {
  if (name === undefined) throw usage('a digest after rm, got nothing');
  const answer = await call.client.removeBase(name);
  if (call.json) printJson(answer);
};

const VERBS: Readonly<Record<string, Verb>> = {
  build,
  list: async (call) => show(call, await call.client.bases(), (bases) => renderBases(bases, Date.now())),
  show: async (call, name = 'current') => show(call, await call.client.showBase(name), renderManifest),
  verify,
  rm: remove,
};

const usage = (expected: string): BrigError =>
  new BrigError('usage.invalid', `read arguments: expected ${expected}`, { hint: `usage: ${baseCommand.usage}` });

export const baseCommand: CliCommand = {
  usage: 'brig base build [--key FILE] | list | show [DIGEST] | verify [DIGEST] | rm DIGEST [--json]',
  summary: "the signed files that every VM's root is made of",
  options: { key: { type: 'string' } },
  operands: [1, 2],
  run: async (call) => {
    const [verb = '', name] = call.operands;
    const work = Object.hasOwn(VERBS, verb) ? VERBS[verb] : undefined;
    if (!work) throw usage(`${Object.keys(VERBS).join(', ')}, got ${escapeControls(verb)}`);
    if (name !== undefined && (verb === 'build' || verb === 'list')) throw usage(`nothing after ${verb}, got ${name}`);
    if (call.values.key !== undefined && verb !== 'build') throw usage('--key after build only');
    await work(call, name);
  },
};
