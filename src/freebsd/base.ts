import type { Host, PackEntry } from '../base/host.ts';
import { BrigError } from '../base/errors.ts';
import { archOfHost, archOfProgram, ELF_HEADER_BYTES, type Arch } from '../image/base-arch.ts';
import { compareArchive, compareFile, shorten } from '../image/base-compare.ts';
import type { BaseKind } from '../image/base-kind.ts';
import { renderMode } from '../image/base-manifest.ts';
import type { Layout } from '../platform/layout.ts';
import type { Manifest } from '../spec/manifest.ts';
import { SWTPM } from './devices.ts';
import { releaseOf as readRelease } from './programs/freebsd-version.ts';
import { listLibraries, parseLibraries } from './programs/ldd.ts';
import { listMounts, parseMounts } from './programs/mount.ts';
import { parseSysctls, readSysctls } from './programs/sysctl.ts';

const BHYVE = '/usr/sbin/bhyve';

/** All that runs in a jail: bhyve, what it starts to build ACPI tables, and what drops its privileges (FACTS S.1). */
const PROGRAMS = ['/bin/sh', BHYVE, '/usr/sbin/iasl', '/usr/sbin/chroot'] as const;
const LINKER = '/libexec/ld-elf.so.1';

/** From ports, where they are: a TPM's emulator. */
const OPTIONAL = [SWTPM] as const;

/** Mount points that every jail's root offers. */
const MOUNT_POINTS = ['/dev', '/disk', '/tmp', '/vm'] as const;

const parentsOf = (path: string): string[] =>
  path
    .split('/')
    .slice(1, -1)
    .map((_, i, parts) => `/${parts.slice(0, i + 1).join('/')}`);

/** The root's contents: files read-only, directories closed to writing, in an order that never changes. */
export const baseEntries = (libraries: readonly string[], optional: readonly string[] = []): PackEntry[] => {
  const files = [...PROGRAMS, LINKER, ...optional, ...libraries];
  const directories = new Set(['/', ...MOUNT_POINTS, ...files.flatMap(parentsOf)]);
  const entries: PackEntry[] = [
    ...[...directories].map((path) => ({ path, mode: 0o755 })),
    ...files.map((path) => ({ path, mode: libraries.includes(path) ? 0o444 : 0o555, from: path })),
  ];
  return entries.sort((a, b) => (a.path < b.path ? -1 : 1));
};

const findOptional = async (host: Host): Promise<string[]> => {
  const found = await Promise.all(OPTIONAL.map(async (path) => ((await host.stat(path)) ? [path] : [])));
  return found.flat();
};

/** Errors: host.missing when a program is absent: a host of few base packages may lack bhyve or iasl. */
const findLibraries = async (host: Host, optional: readonly string[]): Promise<string[]> => {
  for (const path of [...PROGRAMS, LINKER])
    if (!(await host.stat(path)))
      throw new BrigError('host.missing', `build the jails' root: ${path} is not there`, {
        hint: 'install the base package that has it',
      });
  const listed = await host.run(listLibraries([...PROGRAMS, ...optional]));
  const libraries = parseLibraries(listed.stdout);
  if (listed.status === 0 && libraries.length > 0) return libraries;
  throw new BrigError(
    'host.mismatch',
    `build the jails' root: expected ldd(1) to list libraries, got status ${listed.status}: ${listed.stderr.trim() || 'nothing'}`,
  );
};

const archOfBhyve = async (host: Host): Promise<Arch> => {
  const arch = archOfProgram((await host.head(BHYVE, ELF_HEADER_BYTES)) ?? new Uint8Array());
  if (arch) return arch;
  throw new BrigError('host.mismatch', `build the jails' root: expected ${BHYVE} to be an ELF program, got another`);
};

/** Of the base programs where the host can say, otherwise of the kernel. */
const releaseOf = async (host: Host): Promise<string> => {
  const command = readRelease();
  if (await host.stat(command.program)) {
    const { status, stdout } = await host.run(command);
    if (status === 0 && stdout.trim() !== '') return stdout.trim();
  }
  const values = parseSysctls((await host.run(readSysctls(['kern.osrelease']))).stdout);
  return values.get('kern.osrelease') ?? 'unknown';
};

/** What is in an archive, as it was read back: not what the host's files were a moment before. */
const describe = async (host: Host, archive: string): Promise<Manifest> => {
  const [whole, { entries, trouble }] = [await host.digest(archive), await host.readArchive(archive)];
  if (!whole || trouble !== undefined)
    throw new BrigError(
      'host.failed',
      `build the jails' root: cannot read ${archive} back: ${trouble ?? 'it is gone'}`,
    );
  return {
    version: 1,
    platform: 'freebsd',
    arch: await archOfBhyve(host),
    release: await releaseOf(host),
    digest: whole.sha256,
    bytes: whole.bytes,
    directories: entries.flatMap(({ kind, path, mode }) =>
      kind === 'directory' ? [{ path, mode: renderMode(mode) }] : [],
    ),
    files: entries.flatMap(({ kind, path, mode, bytes, sha256 }) =>
      kind === 'file' ? [{ path, mode: renderMode(mode), bytes, sha256 }] : [],
    ),
    devices: [],
  };
};

/** Builds the jails' root from the host's own binaries. Errors: host.missing, host.mismatch. */
const make = async (host: Host, to: string): Promise<Manifest> => {
  const optional = await findOptional(host);
  const libraries = await findLibraries(host, optional);
  await archOfBhyve(host);
  await host.pack(baseEntries(libraries, optional), to, { mode: 0o444, uid: 0, gid: 0 });
  return await describe(host, to);
};

const fits = ({ files, directories }: Manifest): boolean =>
  [...PROGRAMS, LINKER].every((path) => files.some((each) => each.path === path)) &&
  MOUNT_POINTS.every((path) => directories.some((each) => each.path === path));

const differences = async (host: Host, archive: string, manifest: Manifest, deep: boolean): Promise<string[]> => {
  const whole = await host.digest(archive);
  if (!whole) return [`${archive} is not there`];
  const isWhole = whole.sha256 === manifest.digest && whole.bytes === manifest.bytes;
  if (isWhole && !deep) return [];
  const found = compareArchive(manifest, await host.readArchive(archive));
  if (isWhole || found.length > 0) return found;
  const [expected, got] = [shorten(manifest.digest), shorten(whole.sha256)];
  return [`it was altered (expected sha-256 ${expected}..., got ${got}...), though every file in it is as signed`];
};

/** The first file of the host that is not the one in the root, as after an update. */
const outdated = async (host: Host, { files }: Manifest): Promise<string | undefined> => {
  for (const file of files) {
    const found = await host.digest(file.path);
    // The root's modes are its own.
    const [difference] = compareFile({ ...file, mode: found ? renderMode(found.mode) : file.mode }, found);
    if (difference !== undefined) return `on this host, ${difference}`;
  }
  const added = (await findOptional(host)).find((path) => !files.some((file) => file.path === path));
  return added === undefined ? undefined : `this host has ${added} now, and it has not`;
};

/** Archives by whoever has them mounted: VMs by name, others by mount point. */
const usersOf = async (host: Host, layout: Layout): Promise<ReadonlyMap<string, readonly string[]>> => {
  const { status, stdout, stderr } = await host.run(listMounts());
  if (status !== 0) throw new BrigError('host.failed', `list mounts: status ${status}: ${stderr.trim()}`);
  const users = new Map<string, string[]>();
  for (const { type, special, node } of parseMounts(stdout)) {
    if (type !== 'tarfs') continue;
    const name = node.startsWith(`${layout.vmsDir}/`) && node.endsWith('/root') ? node.split('/').at(-2) : undefined;
    users.set(special, [...(users.get(special) ?? []), name ?? node]);
  }
  return users;
};

/** The jails' root: an archive of the host's own programs that tarfs(5) mounts for each VM. */
export const jailRoot = (layout: Layout): BaseKind => ({
  platform: 'freebsd',
  what: "the jails' root",
  suffix: '.tar.zst',
  make,
  arch: async (host) => {
    const values = parseSysctls((await host.run(readSysctls(['hw.machine_arch']))).stdout);
    return archOfHost(values.get('hw.machine_arch') ?? 'of unknown architecture');
  },
  fits: (_host, _file, manifest) => Promise.resolve(fits(manifest)),
  parts: (archive) => [archive],
  differences,
  users: (host) => usersOf(host, layout),
  outdated,
});
