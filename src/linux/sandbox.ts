import type { Host } from '../base/host.ts';
import { BrigError } from '../base/errors.ts';
import { archOfHost, archOfProgram, ELF_HEADER_BYTES, type Arch } from '../image/base-arch.ts';
import { compareFile } from '../image/base-compare.ts';
import type { BaseKind } from '../image/base-kind.ts';
import { listDigest, renderMode } from '../image/base-manifest.ts';
import type { Layout } from '../platform/layout.ts';
import type { Manifest } from '../spec/manifest.ts';
import { device, readOnly, renderCommonArgs, SETPRIV, type Bind } from './programs/bwrap.ts';
import { listProcesses, parseProcesses } from './programs/ps.ts';
import { QEMU } from './programs/qemu.ts';
import { listLibraries, parseLibraries, readMachine } from './programs/system.ts';
import { SWTPM } from './tpm.ts';

/** What a QEMU without graphics and network boot loads beside its libraries; Debian has each. */
const DATA = '/usr/share/qemu/kvmvapic.bin';
const DEVICES = ['/dev/null', '/dev/zero', '/dev/random', '/dev/urandom'];

/** Debian's QEMU loads TCG as a module, from a directory named after the host's architecture. */
const findModule = async (host: Host): Promise<string[]> => {
  const names = ((await host.list('/usr/lib')) ?? []).filter((name) => name.includes('-linux-gnu'));
  const paths = names.map((name) => `/usr/lib/${name}/qemu/accel-tcg-x86_64.so`);
  const found = await Promise.all(paths.map(async (path) => ((await host.stat(path)) ? [path] : [])));
  return found.flat();
};

const existing = async (host: Host, path: string): Promise<string[]> => ((await host.stat(path)) ? [path] : []);

/** Paths of the files that each sandbox shows. Errors: host.missing, host.mismatch. */
const findFiles = async (host: Host): Promise<string[]> => {
  for (const path of [QEMU, SETPRIV])
    if (!(await host.stat(path)))
      throw new BrigError('host.missing', `build the sandboxes' files: ${path} is not there`, {
        hint: 'apt-get install qemu-system-x86 util-linux',
      });
  const programs = [QEMU, SETPRIV, ...(await findModule(host))];
  return [...new Set([...programs, ...(await findLibraries(host, programs)), ...(await existing(host, DATA))])].sort();
};

const findLibraries = async (host: Host, programs: readonly string[]): Promise<string[]> => {
  const listed = await host.run(listLibraries(programs));
  const libraries = parseLibraries(listed.stdout);
  if (listed.status === 0 && libraries.length > 0) return libraries;
  throw new BrigError(
    'host.mismatch',
    `build the sandboxes' files: expected ldd(1) to list libraries, got status ${listed.status}: ${listed.stderr.trim() || 'nothing'}`,
  );
};

/** What swtpm(8)'s sandbox has; undefined where it is not installed. */
export const findTpm = async (host: Host): Promise<readonly Bind[] | undefined> => {
  if (!(await host.stat(SWTPM))) return undefined;
  const programs = [SWTPM, SETPRIV];
  const files = [...programs, ...(await findLibraries(host, programs))];
  return [...files.map((path) => readOnly(path)), ...DEVICES.map((path) => device(path))];
};

const archOfQemu = async (host: Host): Promise<Arch> => {
  const arch = archOfProgram((await host.head(QEMU, ELF_HEADER_BYTES)) ?? new Uint8Array());
  if (arch) return arch;
  throw new BrigError(
    'host.mismatch',
    `build the sandboxes' files: expected ${QEMU} to be an ELF program, got another`,
  );
};

/** `PRETTY_NAME` where it is plain text. Source: os-release(5). */
const releaseOf = async (host: Host): Promise<string> =>
  /^PRETTY_NAME="?([\x20\x21\x23-\x7e]{1,64}?)"?$/m.exec((await host.readFile('/etc/os-release')) ?? '')?.[1] ??
  'unknown';

const digestFile = async (host: Host, path: string): Promise<Manifest['files'][number]> => {
  const found = await host.digest(path);
  if (!found) throw new BrigError('host.missing', `build the sandboxes' files: ${path} is not there`);
  return { path, mode: renderMode(found.mode), bytes: found.bytes, sha256: found.sha256 };
};

type Shown = Pick<Manifest, 'files' | 'devices'>;

/** What every sandbox shows of the host. */
export const bindsOf = ({ files, devices }: Shown): Bind[] => [
  ...files.map(({ path }) => readOnly(path)),
  ...devices.map((path) => device(path)),
];

/** The part of bwrap's arguments that every sandbox has. */
const renderArgs = (shown: Shown): string => renderCommonArgs(bindsOf(shown));

/**
 * Writes down what every VM's sandbox has in common: QEMU, setpriv(1), their libraries, four devices and nothing else.
 * Errors: host.missing when QEMU is not there, host.mismatch when its libraries cannot be listed.
 */
const make = async (host: Host, to: string): Promise<Manifest> => {
  const files: Manifest['files'] = [];
  for (const path of await findFiles(host)) files.push(await digestFile(host, path));
  const list = { directories: [], files, devices: DEVICES };
  const words = { arch: await archOfQemu(host), release: await releaseOf(host) };
  await host.writeFile(to, renderArgs(list), { mode: 0o600, uid: 0, gid: 0 });
  const bytes = files.reduce((sum, each) => sum + each.bytes, 0);
  return { version: 1, platform: 'linux', digest: listDigest(list), bytes, ...words, ...list };
};

/** Written by another brig, it may have other walls. */
const fits = async (host: Host, args: string, manifest: Manifest): Promise<boolean> =>
  (await host.readFile(args)) === renderArgs(manifest);

const differences = async (host: Host, args: string, manifest: Manifest, deep: boolean): Promise<string[]> => {
  const found = [
    ...(listDigest(manifest) === manifest.digest ? [] : ['its list of files is not the one of its digest']),
    ...((await fits(host, args, manifest)) ? [] : [`${args} is not what its manifest makes`]),
  ];
  for (const file of manifest.files) {
    if (found.length > 0 && !deep) break;
    found.push(...compareFile(file, await host.digest(file.path)));
  }
  return found;
};

/** Files of arguments by the VMs whose supervisor was started with them. Anybody may write any command line: root's only. */
const usersOf = async (host: Host, layout: Layout): Promise<ReadonlyMap<string, readonly string[]>> => {
  const { status, stdout, stderr } = await host.run(listProcesses());
  if (status !== 0) throw new BrigError('host.failed', `list processes: status ${status}: ${stderr.trim()}`);
  const users = new Map<string, string[]>();
  for (const { uid, args } of parseProcesses(stdout)) {
    if (uid !== 0 || !args.startsWith(`/bin/sh ${layout.supervisor} qemu `)) continue;
    const [name, file] = [args.split(' ')[3] ?? '', / -8 (\S+) /.exec(args)?.[1] ?? ''];
    users.set(file, [...new Set([...(users.get(file) ?? []), name])]);
  }
  return users;
};

/** What every sandbox shows: files of the host, each by its own name, and no copy of them. */
export const sandboxFiles = (layout: Layout): BaseKind => ({
  platform: 'linux',
  what: "the sandboxes' files",
  suffix: '.args',
  make,
  arch: async (host) => archOfHost((await host.run(readMachine())).stdout.trim()),
  parts: (args, { files }) => [args, ...files.map(({ path }) => path)],
  fits,
  differences,
  users: (host) => usersOf(host, layout),
  // They are the host's own: what has changed is a difference already.
  outdated: () => Promise.resolve(undefined),
});
