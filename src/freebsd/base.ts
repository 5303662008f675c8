import type { Host, PackEntry } from '../base/host.ts';
import { BrigError } from '../base/errors.ts';
import { listLibraries, parseLibraries } from './programs/ldd.ts';

/** All that runs in a jail: bhyve, what it starts to build ACPI tables, and what drops its privileges (FACTS S.1). */
const PROGRAMS = ['/bin/sh', '/usr/sbin/bhyve', '/usr/sbin/iasl', '/usr/sbin/chroot'] as const;
const LINKER = '/libexec/ld-elf.so.1';

/** Mount points that every jail's root offers. */
const MOUNT_POINTS = ['/dev', '/disk', '/tmp', '/vm'] as const;

const parentsOf = (path: string): string[] =>
  path
    .split('/')
    .slice(1, -1)
    .map((_, i, parts) => `/${parts.slice(0, i + 1).join('/')}`);

/** The root's contents: files read-only, directories closed to writing, in an order that never changes. */
export const baseEntries = (libraries: readonly string[]): PackEntry[] => {
  const files = [...PROGRAMS, LINKER, ...libraries];
  const directories = new Set(['/', ...MOUNT_POINTS, ...files.flatMap(parentsOf)]);
  const entries: PackEntry[] = [
    ...[...directories].map((path) => ({ path, mode: 0o755 })),
    ...files.map((path) => ({ path, mode: libraries.includes(path) ? 0o444 : 0o555, from: path })),
  ];
  return entries.sort((a, b) => (a.path < b.path ? -1 : 1));
};

/**
 * Builds the jail root from the host's own binaries.
 * Errors: host.missing when one of them is absent: a host of few base packages may lack bhyve or iasl.
 */
export const buildBase = async (host: Host, to: string): Promise<{ files: number; bytes: number }> => {
  for (const path of [...PROGRAMS, LINKER])
    if (!(await host.stat(path)))
      throw new BrigError('host.missing', `build ${to}: ${path} is not there`, {
        hint: 'install the base package that has it',
      });
  const listed = await host.run(listLibraries(PROGRAMS));
  const libraries = parseLibraries(listed.stdout);
  if (listed.status !== 0 || libraries.length === 0)
    throw new BrigError(
      'host.mismatch',
      `build ${to}: expected ldd(1) to list libraries, got status ${listed.status}: ${listed.stderr.trim() || 'nothing'}`,
    );
  const entries = baseEntries(libraries);
  await host.pack(entries, to, { mode: 0o444, uid: 0, gid: 0 });
  return {
    files: entries.filter((entry) => entry.from !== undefined).length,
    bytes: (await host.stat(to))?.bytes ?? 0,
  };
};
