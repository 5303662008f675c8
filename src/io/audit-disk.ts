import { closeSync, constants, fchmodSync, fdatasync, fstatSync, fsyncSync, openSync, writeSync } from 'node:fs';
import { BrigError, messageOf } from '../base/errors.ts';

export const failed = (path: string, cause: unknown): BrigError =>
  new BrigError('store.failed', `write ${path}: ${messageOf(cause)}`, {
    cause,
    hint: 'nothing is changed that the audit log cannot tell of: make room for it',
  });

const APPEND = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW;

/** Only a file of our own that nobody else may read. Errors: store.failed. */
export const openLog = (path: string, flags = 0): number => {
  const fd = openSync(path, APPEND | constants.O_NONBLOCK | flags, 0o600);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile() || stat.nlink !== 1) throw new Error('expected a file with one name');
    if (stat.uid !== process.getuid?.()) throw new Error(`expected a file of our own, got one of uid ${stat.uid}`);
    if ((stat.mode & 0o077) !== 0) fchmodSync(fd, 0o600);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw failed(path, error);
  }
};

export const syncDirectory = (dir: string): void => {
  const fd = openSync(dir, constants.O_RDONLY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
};

export const sync = (fd: number): Promise<void> =>
  new Promise((resolve, reject) => fdatasync(fd, (error) => (error ? reject(error) : resolve())));

/** All of it, or as much as there is room for, and why. */
export const writeAll = (fd: number, bytes: Buffer): { readonly written: number; readonly error?: unknown } => {
  let written = 0;
  try {
    while (written < bytes.length) written += writeSync(fd, bytes, written);
    return { written };
  } catch (error) {
    return { written, error };
  }
};
