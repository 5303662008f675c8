import { resolve } from 'node:path';
import { BrigError } from '../../base/errors.ts';
import { escapeControls, renderAge } from '../../base/units.ts';
import type { BaseReport, BaseView } from '../../platform/bases.ts';
import type { SignedManifest } from '../../spec/manifest.ts';
import { printJson, show, withVerbs, type Call } from '../command.ts';
import { firstLine, paint, renderTable, short } from '../render.ts';

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
  const reasons = bases.flatMap(({ digest, problem }) =>
    problem === undefined ? [] : [paint('red', `${short(digest)}: ${firstLine(problem)}`)],
  );
  return [renderTable(head, rows), ...reasons].join('\n');
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
  const rows = entries.map(({ path, cells }) => [...cells, path]);
  return [
    ...words.map(([key, value]) => `${key.padEnd(width)}  ${value}`),
    renderTable(['MODE', 'BYTES', 'SHA-256', 'PATH'], rows),
  ].join('\n');
};

export const renderReport = ({ digest, files, problems }: BaseReport): string =>
  problems.length === 0
    ? `${short(digest)}: ${files} files, all as signed`
    : problems.map((problem) => `${short(digest)}: ${escapeControls(problem)}`).join('\n');

const build = async (call: Call): Promise<void> => {
  const { key } = call.values;
  const path = typeof key === 'string' ? resolve(key) : undefined;
  const built = await call.client.buildBase(path);
  show(call, built, ({ digest, files = 0, bytes, key: id = '' }) =>
    [short(digest), `${files} files, ${mebibytes(bytes)}`, `signed by key ${id}`].join('  '),
  );
  if (!built.verified) throw new BrigError('image.invalid', `build base: ${built.problem ?? 'not as signed'}`);
};

const verify = async (call: Call, name = 'current'): Promise<void> => {
  const report = await call.client.verifyBase(name);
  show(call, report, renderReport);
  if (!report.ok) process.exitCode = 65;
};

const remove = async (call: Call, name: string): Promise<void> => {
  const answer = await call.client.removeBase(name);
  if (call.json) printJson(answer);
};

export const baseCommand = withVerbs('base', "the signed files that every VM's root is made of", {
  build: {
    usage: 'build [--key FILE]',
    summary: "make another root of this host's own files, sign it and make it the current one",
    options: {
      key: { type: 'string', about: "sign with this key instead of the host's own", value: 'FILE', is: 'file' },
    },
    operands: [0, 0],
    complete: [],
    examples: ['brig base build', 'brig base build --key /root/release.key'],
    run: build,
  },
  list: {
    usage: 'list',
    summary: 'all roots that were built',
    options: {},
    operands: [0, 0],
    complete: [],
    examples: ['brig base list', 'brig base list --json'],
    run: async (call) => show(call, await call.client.bases(), (bases) => renderBases(bases, Date.now())),
  },
  show: {
    usage: 'show [DIGEST]',
    summary: 'every file of a root with its mode, size and digest; of the current one without DIGEST',
    options: {},
    operands: [0, 1],
    complete: ['base'],
    examples: ['brig base show', 'brig base show 0f3a91'],
    run: async (call, name = 'current') => show(call, await call.client.showBase(name), renderManifest),
  },
  verify: {
    usage: 'verify [DIGEST]',
    summary: 'read all of a root anew; exit 0 only when it is as it was signed',
    options: {},
    operands: [0, 1],
    complete: ['base'],
    examples: ['brig base verify', 'brig base verify 0f3a91'],
    run: verify,
  },
  rm: {
    usage: 'rm DIGEST',
    summary: 'remove a root that no VM runs on and that is not the current one',
    options: {},
    operands: [1, 1],
    complete: ['base'],
    examples: ['brig base rm 0f3a91', 'brig base rm 0f3a91 --json'],
    run: remove,
  },
});
