/** One line of /proc/PID/mountinfo. Source: proc(5) */
export interface Mount {
  /** MAJOR:MINOR of the file system; major 0 has no block device. */
  readonly device: string;
  /** What of the file system is shown: a path in it, `net:[4026532288]` for a namespace. */
  readonly root: string;
  readonly at: string;
  readonly readOnly: boolean;
  readonly options: readonly string[];
  readonly type: string;
}

const unescape = (text: string): string =>
  text.replaceAll(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));

export const parseMountinfo = (text: string): Mount[] =>
  text.split('\n').flatMap((line) => {
    const [left, right] = line.split(' - ');
    const [, , device, root, at, options] = left?.split(' ') ?? [];
    if (!device || root === undefined || !at || !options) return [];
    const flags = options.split(',');
    const type = right?.split(' ')[0] ?? '';
    return [{ device, root: unescape(root), at: unescape(at), readOnly: flags.includes('ro'), options: flags, type }];
  });

/** The mount that a path is on: of those above it the longest, of equal ones the last. */
export const mountOf = (mounts: readonly Mount[], path: string): Mount | undefined =>
  mounts.reduce<Mount | undefined>((best, mount) => {
    const isAbove = mount.at === '/' || path === mount.at || path.startsWith(`${mount.at}/`);
    return isAbove && mount.at.length >= (best?.at.length ?? 0) ? mount : best;
  }, undefined);
