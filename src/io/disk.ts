import { constants } from 'node:fs';
import { access, open, rename as renameFile, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { DiskPort } from '../base/host.ts';
import { BrigError, messageOf } from '../base/errors.ts';

const failed = (attempt: string, cause: unknown): BrigError =>
  new BrigError('host.failed', `${attempt}: ${messageOf(cause).split(', ')[0]}`, { cause });

const FLAGS = { read: constants.O_RDONLY, write: constants.O_RDWR } as const;

const readAll = async (file: FileHandle, at: number, buffer: Buffer): Promise<number> => {
  let done = 0;
  while (done < buffer.length) {
    const { bytesRead } = await file.read(buffer, done, buffer.length - done, at + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
};

const writeAll = async (file: FileHandle, at: number, data: Uint8Array): Promise<void> => {
  for (let done = 0; done < data.length;)
    done += (await file.write(data, done, data.length - done, at + done)).bytesWritten;
};

/** Errors: host.failed with the place and the system's reason. */
export const openDisk = async (path: string, mode: 'read' | 'write'): Promise<DiskPort> => {
  const file = await open(path, FLAGS[mode] | constants.O_NOFOLLOW).catch((error: unknown) => {
    throw failed(`open ${path}`, error);
  });
  const must = async <T>(attempt: string, work: Promise<T>): Promise<T> =>
    await work.catch((error: unknown) => {
      throw failed(`${attempt} ${path}`, error);
    });
  return {
    read: (at, buffer) => must('read', readAll(file, at, buffer)),
    write: (at, data) => must('write', writeAll(file, at, data)),
    resize: (bytes) => must('size', file.truncate(bytes)),
    sync: () => must('sync', file.sync()),
    close: () => file.close(),
  };
};

/** A name that is taken is an error: rename(2) would replace it. */
export const rename = async (from: string, to: string): Promise<void> => {
  const attempt = `rename ${from} to ${to}`;
  const isTaken = await access(to).then(
    () => true,
    () => false,
  );
  if (isTaken) throw new BrigError('host.failed', `${attempt}: EEXIST: file already exists`);
  try {
    await renameFile(from, to);
    const directory = await open(dirname(to), constants.O_RDONLY);
    await directory.sync().finally(() => directory.close());
  } catch (error) {
    throw failed(attempt, error);
  }
};
