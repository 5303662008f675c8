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
  stat as statThrough,
  truncate,
  unlink,
  type FileHandle,
} from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { dirname } from 'node:path';
import type { Access, FileDigest, FileStat } from '../base/host.ts';
import { BrigError, messageOf } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';

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

/** Of a file that is read piece by piece. */
const PIECE_BYTES = 2 ** 18;

const kindOf = (stat: Awaited<ReturnType<typeof lstat>>): FileStat['kind'] => {
  if (stat.isFile()) return 'file';
  if (stat.isDirectory()) return 'directory';
  if (stat.isFIFO()) return 'fifo';
  if (stat.isSocket()) return 'socket';
  return stat.isCharacterDevice() || stat.isBlockDevice() ? 'device' : 'other';
};

export const stat = async (path: string): Promise<FileStat | undefined> => {
  const found = await orAbsent(`stat ${path}`, lstat(path));
  if (!found) return undefined;
  const { mode, uid, gid, size, mtimeMs } = found;
  return { kind: kindOf(found), mode: mode & 0o7777, uid, gid, bytes: size, modifiedMs: Math.floor(mtimeMs) };
};

/** Device, inode, size and both times in nanoseconds; of a file that has rested long enough for these to tell. */
export const identity = async (path: string): Promise<string | undefined> => {
  const found = await orAbsent(`stat ${path}`, statThrough(path, { bigint: true }));
  if (!found || Number(found.ctimeMs) + LIMITS.settledMs > Date.now()) return undefined;
  return [found.dev, found.ino, found.size, found.mtimeNs, found.ctimeNs].join(':');
};

/** Opens a regular file, links followed; waits for nobody, should it be a FIFO. */
const openFile = async (attempt: string, path: string): Promise<FileHandle | undefined> => {
  const file = await orAbsent(attempt, open(path, constants.O_RDONLY | constants.O_NONBLOCK));
  if (!file || (await file.stat()).isFile()) return file;
  await file.close();
  throw new BrigError('host.failed', `${attempt}: not a file`);
};

const withFile = async <T>(
  attempt: string,
  path: string,
  work: (file: FileHandle) => Promise<T>,
): Promise<T | undefined> => {
  const file = await openFile(attempt, path);
  if (!file) return undefined;
  try {
    return await must(attempt, work(file));
  } finally {
    await file.close();
  }
};

export const digest = (path: string): Promise<FileDigest | undefined> =>
  withFile(`read ${path}`, path, async (file) => {
    const hash = createHash('sha256');
    const { mode } = await file.stat();
    let bytes = 0;
    for await (const chunk of file.createReadStream({ autoClose: false, highWaterMark: PIECE_BYTES })) {
      hash.update(chunk as Buffer);
      bytes += (chunk as Buffer).length;
    }
    return { sha256: hash.digest('hex'), bytes, mode: mode & 0o7777 };
  });

export const head = (path: string, bytes: number): Promise<Uint8Array | undefined> =>
  withFile(`read ${path}`, path, async (file) => {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(bytes), 0, bytes, 0);
    return buffer.subarray(0, bytesRead);
  });

const grant = async (path: string, access: Access): Promise<void> => {
  await chown(path, access.uid, access.gid);
  await chmod(path, access.mode);
};

const flush = async (path: string): Promise<void> => {
  const file = await open(path, constants.O_RDONLY);
  try {
    await file.sync();
  } finally {
    await file.close();
  }
};

/** Written beside, then renamed: a reader sees the old file or the new one. `durable` is also after a loss of power. */
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
    if (access.durable) await flush(temporary);
    await rename(temporary, path);
    if (access.durable) await flush(dirname(path));
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

/** Piece by piece, and zeros not at all: holes stay holes whatever the file system can do. */
const copySparsely = async (from: string, to: string): Promise<void> => {
  const [source, target] = [await open(from), await open(to, 'wx', 0o600)];
  try {
    const room = Buffer.allocUnsafeSlow(COPY_BYTES);
    const zeros = Buffer.alloc(COPY_BYTES);
    for (let at = 0; ;) {
      const { bytesRead } = await source.read(room, 0, room.length, at);
      if (bytesRead === 0) return await target.truncate(at);
      const piece = room.subarray(0, bytesRead);
      const end = piece.equals(zeros.subarray(0, bytesRead)) ? 0 : bytesRead;
      for (let done = 0; done < end;) done += (await target.write(piece, done, end - done, at + done)).bytesWritten;
      at += bytesRead;
    }
  } finally {
    await source.close();
    await target.close();
  }
};
const COPY_BYTES = 2 ** 20;

/** Instant where the file system can share blocks. */
const copyContent = async (from: string, to: string): Promise<void> => {
  try {
    await copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE_FORCE);
  } catch {
    await rm(to, { force: true });
    await copySparsely(from, to);
  }
};

/** A copy, instant where the file system can share blocks; grown to a size when one is given. */
export const copy = (from: string, to: string, access: Access, growTo?: number): Promise<void> =>
  must(
    `copy ${from} to ${to}`,
    replace(to, access, async (temporary) => {
      const { size } = await lstat(from);
      if (growTo !== undefined && size > growTo) throw new Error(`expected at most ${growTo} bytes, got ${size}`);
      await copyContent(from, temporary);
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
