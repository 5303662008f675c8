import { constants, watch as watchFs } from 'node:fs';
import {
  chmod,
  chown,
  copyFile,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  rmdir,
  truncate,
  unlink,
} from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Access, FileStat } from '../base/host.ts';
import { BrigError, messageOf } from '../base/errors.ts';

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;
const isAbsent = (error: unknown): boolean => codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR';

/** Node words a system call's error as `CODE: reason, call 'path'`; the attempt names call and path already. */
const failed = (attempt: string, cause: unknown): BrigError => {
  const errno = codeOf(cause);
  const reason = errno === undefined ? messageOf(cause) : (messageOf(cause).split(', ')[0] ?? '');
  return new BrigError(
    errno === 'EACCES' || errno === 'EPERM' ? 'host.denied' : 'host.failed',
    `${attempt}: ${reason}`,
    { cause },
  );
};

const orAbsent = async <T>(attempt: string, work: Promise<T>): Promise<T | undefined> => {
  try {
    return await work;
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw failed(attempt, error);
  }
};

const must = async <T>(attempt: string, work: Promise<T>): Promise<T> => {
  try {
    return await work;
  } catch (error) {
    throw failed(attempt, error);
  }
};

export const readText = (path: string): Promise<string | undefined> => orAbsent(`read ${path}`, readFile(path, 'utf8'));
export const list = (path: string): Promise<string[] | undefined> => orAbsent(`list ${path}`, readdir(path));
export const readLink = (path: string): Promise<string | undefined> => orAbsent(`read link ${path}`, readlink(path));
export const removeEmpty = async (path: string): Promise<void> => {
  await orAbsent(`remove ${path}`, rmdir(path));
};

const kindOf = (stat: Awaited<ReturnType<typeof lstat>>): FileStat['kind'] => {
  if (stat.isFile()) return 'file';
  if (stat.isDirectory()) return 'directory';
  if (stat.isFIFO()) return 'fifo';
  if (stat.isSocket()) return 'socket';
  return stat.isCharacterDevice() || stat.isBlockDevice() ? 'device' : 'other';
};

export const stat = async (path: string): Promise<FileStat | undefined> => {
  const found = await orAbsent(`stat ${path}`, lstat(path));
  return found && { kind: kindOf(found), mode: found.mode & 0o7777, uid: found.uid, gid: found.gid, bytes: found.size };
};

const grant = async (path: string, access: Access): Promise<void> => {
  await chown(path, access.uid, access.gid);
  await chmod(path, access.mode);
};

/** Written beside, synced, then renamed: a reader or a crash sees the old file or the new one. */
export const replace = async (
  path: string,
  access: Access,
  fill: (temporary: string) => Promise<void>,
): Promise<void> => {
  const temporary = `${path}.brig-new`;
  await rm(temporary, { force: true });
  try {
    await fill(temporary);
    await grant(temporary, access);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
};

export const writeText = (path: string, content: string | Uint8Array, access: Access): Promise<void> =>
  must(
    `write ${path}`,
    replace(path, access, async (temporary) => {
      const file = await open(
        temporary,
        constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
        0o600,
      );
      try {
        await file.writeFile(content);
      } finally {
        await file.close();
      }
    }),
  );

/** A copy, instant where the file system can share blocks; grown to a size when one is given. */
export const copy = (from: string, to: string, access: Access, growTo?: number): Promise<void> =>
  must(
    `copy ${from} to ${to}`,
    replace(to, access, async (temporary) => {
      const { size } = await lstat(from);
      if (growTo !== undefined && size > growTo) throw new Error(`expected at most ${growTo} bytes, got ${size}`);
      await copyFile(from, temporary, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
      if (growTo !== undefined) await truncate(temporary, growTo);
    }),
  );

/** In place, as the kernel's own files want it: those cannot be replaced by renaming. */
export const set = async (path: string, text: string): Promise<void> => {
  const file = await must(`open ${path}`, open(path, constants.O_WRONLY | constants.O_NOFOLLOW));
  try {
    await must(`set ${path} to ${text.trim()}`, file.writeFile(text));
  } finally {
    await file.close();
  }
};

/** A sparse file; an existing one is an error. */
export const allocate = async (path: string, bytes: number, access: Access): Promise<void> => {
  const file = await must(
    `create ${path}`,
    open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600),
  );
  try {
    await must(`size ${path}`, file.truncate(bytes));
  } finally {
    await file.close();
  }
  await must(`own ${path}`, grant(path, access));
};

export const makeDirectory = (path: string, access: Access): Promise<void> =>
  must(
    `create ${path}`,
    (async () => {
      await mkdir(dirname(path), { recursive: true, mode: 0o755 });
      await mkdir(path, { mode: 0o700 }).catch((error: unknown) => {
        if (codeOf(error) !== 'EEXIST') throw error;
      });
      await grant(path, access);
    })(),
  );

/** A file or a tree; what is mounted below makes it fail instead of being emptied. */
export const remove = async (path: string): Promise<void> => {
  const found = await orAbsent(`stat ${path}`, lstat(path));
  if (!found) return;
  if (!found.isDirectory()) return await orAbsent(`remove ${path}`, unlink(path));
  for (const entry of await must(`list ${path}`, readdir(path))) {
    const inner = await orAbsent(`stat ${path}/${entry}`, lstat(`${path}/${entry}`));
    if (inner && inner.dev !== found.dev)
      throw new BrigError('host.failed', `remove ${path}/${entry}: something is mounted there`, { retry: 'operator' });
    await remove(`${path}/${entry}`);
  }
  await removeEmpty(path);
};

/** Calls back on each change of a directory's entries; looks once a second where the kernel cannot tell. */
export const watch = (directory: string, onChange: () => void): { close(): void } => {
  try {
    const watcher = watchFs(directory, { persistent: false }, onChange);
    watcher.on('error', () => watcher.close());
    return watcher;
  } catch {
    const timer = setInterval(onChange, 1000);
    timer.unref();
    return { close: () => clearInterval(timer) };
  }
};
