import type { Command, Tolerance } from '../../base/host.ts';
import { wordOf, wordsOf } from '../../base/words.ts';
import { command } from '../../platform/command.ts';

export const mount = (
  type: 'tarfs' | 'tmpfs' | 'nullfs' | 'devfs',
  options: readonly string[],
  special: string,
  node: string,
): Command => command('/sbin/mount', ['-t', type, ...(options.length ? ['-o', options.join(',')] : []), special, node]);

export const unmount = (node: string): Command => command('/sbin/umount', [node]);

/** Everything mounted, in fstab(5) form. */
export const listMounts = (): Command => command('/sbin/mount', ['-p']);

/** Seen: `umount: X: not a file system root directory`, exit 1: nothing is mounted there. */
export const NOT_MOUNTED: Tolerance = { status: 1, stderr: 'not a file system root directory' };
/** The directory itself is gone. Text of stat(2); umount(8) prints it after the path. */
export const NO_DIRECTORY: Tolerance = { status: 1, stderr: 'No such file or directory' };
/** Seen: `umount: unmount of X failed: Device busy`: passes by itself in a moment. */
export const BUSY: Tolerance = { status: 1, stderr: 'Device busy' };

export interface Mount {
  readonly special: string;
  readonly node: string;
  readonly type: string;
  readonly options: readonly string[];
}

/** Parses `mount -p`. brig's own paths have no blanks; others are passed over if they do not fit. */
export const parseMounts = (text: string): Mount[] =>
  text.split('\n').flatMap((line) => {
    const [special, node, type, options] = line.split(/\s+/);
    return special && node && type && options
      ? [{ special, node, type: wordOf(type), options: wordsOf(options, ',') }]
      : [];
  });
