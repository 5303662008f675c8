import type { Command, Tolerance } from '../../base/host.ts';
import { LIMITS } from '../../base/limits.ts';
import { BWRAP } from './bwrap.ts';
import { command } from '../../platform/command.ts';

export const QEMU_IMG = '/usr/bin/qemu-img';

/** By its name, never by its content: a guest that writes a header into a raw disk must not choose the format. */
export const formatOf = (path: string): 'qcow2' | 'raw' => (path.endsWith('.qcow2') ? 'qcow2' : 'raw');

/** A disk that holds only what differs from its base. Source: qemu-img(1) "create". */
export const createOverlay = (base: string, overlay: string, bytes: number): Command =>
  command(QEMU_IMG, ['create', '-q', '-f', 'qcow2', '-b', base, '-F', formatOf(base), overlay, String(bytes)], {
    timeoutMs: LIMITS.zfsTimeoutMs,
  });

/** An overlay, and what it lies on: a guest may have written another base into the overlay itself. */
export interface Overlay {
  readonly path: string;
  readonly base: string;
}

/**
 * qemu-img(1) that sees nothing but itself, the overlay and its base: an overlay that a broken QEMU has spoiled leads
 * nowhere. Source: bwrap(1)
 */
const confined = (
  { path, base }: Overlay,
  how: '--bind' | '--ro-bind',
  binds: readonly string[],
  args: readonly string[],
) =>
  command(
    BWRAP,
    [
      ...[
        '--unshare-ipc',
        '--unshare-net',
        '--unshare-pid',
        '--unshare-uts',
        '--die-with-parent',
        '--new-session',
        '--clearenv',
        '--cap-drop',
        'ALL',
      ],
      ...['--cap-add', 'CAP_DAC_OVERRIDE', '--ro-bind', '/usr', '/usr', '--symlink', 'usr/lib', '/lib'],
      ...[
        '--symlink',
        'usr/lib64',
        '/lib64',
        '--dev-bind',
        '/dev/null',
        '/dev/null',
        how,
        path,
        '/vm/top',
        '--ro-bind',
        base,
        '/vm/base',
        ...binds,
      ],
      ...[QEMU_IMG, ...args],
    ],
    { timeoutMs: LIMITS.copyTimeoutMs },
  );

const overlayOf = (base: string): string =>
  [
    ...['driver=qcow2', 'file.driver=file', 'file.filename=/vm/top', `backing.driver=${formatOf(base)}`],
    ...['backing.file.driver=file', 'backing.file.filename=/vm/base'],
  ].join(',');

/** The overlay is not there, and not its base. Seen: `bwrap: Can't find source path /x: No such file or directory`. */
export const noOverlay = ({ path }: Pick<Overlay, 'path'>): Tolerance => ({
  status: 1,
  stderr: `Can't find source path ${path}:`,
});

/** What a guest sees of an overlay, into a file that is there. Source: qemu-img(1) "convert". */
export const flatten = (overlay: Overlay, to: string): Command =>
  confined(
    overlay,
    '--ro-bind',
    ['--bind', to, '/vm/out'],
    [...['convert', '-q', '-O', 'raw', '--image-opts', overlayOf(overlay.base), '/vm/out']],
  );

/** Source: qemu-img(1) "resize". */
export const growOverlay = (overlay: Overlay, bytes: number): Command =>
  confined(overlay, '--bind', [], ['resize', '-q', '--image-opts', overlayOf(overlay.base), String(bytes)]);
