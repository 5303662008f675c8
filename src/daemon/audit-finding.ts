import { readdir, stat, statfs } from 'node:fs/promises';
import { LIMITS } from '../base/limits.ts';
import type { Finding } from '../platform/platform.ts';

const MIB = 2 ** 20;

/** The audit log removes nothing of itself: whoever keeps it is told in time that it needs room. */
export const auditFinding = async (dir: string): Promise<Finding> => {
  const names = await readdir(dir).catch(() => []);
  const sizes = await Promise.all(names.map(async (name) => (await stat(`${dir}/${name}`)).size));
  const bytes = sizes.reduce((all, size) => all + size, 0);
  const { bavail, bsize } = await statfs(dir);
  const free = bavail * bsize;
  const got = `${Math.ceil(bytes / MIB)} MiB in ${names.length} files, ${Math.floor(free / MIB)} MiB free`;
  const isTight = free < LIMITS.auditRoomBytes;
  const mend = `move audit.log.N of ${dir} elsewhere, oldest first; brig audit-log verify FILE... reads them there`;
  return { level: isTight ? 'warning' : 'ok', what: 'room for the audit log', got, ...(isTight ? { mend } : {}) };
};
