import { readFile, writeFile } from 'node:fs/promises';
import { zstdCompressSync } from 'node:zlib';
import { pack as packTar } from 'tar-stream';
import type { Access, PackEntry } from '../base/host.ts';
import { BrigError, messageOf } from '../base/errors.ts';
import { replace } from './files.ts';

/** Header, content and padding of one entry, without the archive's end. Nothing of the host's clock or users is in it. */
const toTar = async (entry: PackEntry): Promise<Buffer> => {
  const stream = packTar();
  const chunks: Buffer[] = [];
  stream.on('data', (chunk) => chunks.push(chunk as Buffer));
  const content = entry.from === undefined ? undefined : await readFile(entry.from);
  const header = {
    name: nameOf(entry),
    mode: entry.mode,
    mtime: new Date(0),
    uid: 0,
    gid: 0,
    uname: 'root',
    gname: 'wheel',
  };
  const done = new Promise<void>((resolve, reject) => {
    const finish = (error?: Error | null): void => (error ? reject(error) : resolve());
    if (content) stream.entry({ ...header, type: 'file' }, content, finish);
    else stream.entry({ ...header, type: 'directory' }, finish);
  });
  await done;
  await new Promise((resolve) => setImmediate(resolve));
  stream.destroy();
  return Buffer.concat(chunks);
};

/** Names as `tar -C DIR .` writes them: what tarfs(5) was seen to mount. */
const nameOf = (entry: PackEntry): string =>
  `.${entry.path}${entry.from === undefined && entry.path !== '/' ? '/' : ''}`;

/** Two empty blocks end a tar. Source: tar(5). */
const END = Buffer.alloc(1024);

/** A frame for each entry, so that tarfs(5) can read one file without unpacking those before it. */
export const pack = async (entries: readonly PackEntry[], to: string, access: Access): Promise<void> => {
  try {
    const frames: Buffer[] = [];
    for (const entry of entries) frames.push(zstdCompressSync(await toTar(entry)));
    frames.push(zstdCompressSync(END));
    await replace(to, access, (temporary) => writeFile(temporary, Buffer.concat(frames), { mode: 0o600, flag: 'wx' }));
  } catch (error) {
    throw new BrigError('host.failed', `pack ${to}: ${messageOf(error)}`, { cause: error });
  }
};
