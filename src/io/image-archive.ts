import { constants, createZstdCompress } from 'node:zlib';
import { extract as extractTar, pack as packTar, type Header, type Pack } from 'tar-stream';
import { BrigError, messageOf } from '../base/errors.ts';
import { Inbox } from '../base/inbox.ts';
import { IMAGE } from '../base/limits.ts';

const BLOCK = 512;
const MANIFEST = 'manifest.json';
const diskName = (index: number): string => `disk${index}.raw`;

/** What an archive holds: its manifest, then the bytes of each disk. */
export interface ArchiveContent {
  readonly manifest: string;
  readonly disks: () => AsyncIterable<{ readonly bytes: number; readonly data: AsyncIterable<Buffer> }>;
}

/** Nothing of the host's clock or users is in it. */
const headerOf = (name: string, size: number): Pick<Header, 'name' | 'size' | 'mode' | 'mtime' | 'uid' | 'gid'> => ({
  ...{ name, size, mode: 0o444 },
  ...{ mtime: new Date(0), uid: 0, gid: 0 },
});

const fill = async (tar: Pack, name: string, size: number, data: AsyncIterable<Buffer>): Promise<void> => {
  const ended = Promise.withResolvers<undefined>();
  const entry = tar.entry(headerOf(name, size), (error) => (error ? ended.reject(error) : ended.resolve(undefined)));
  entry.on('error', (error: Error) => ended.reject(error));
  // Told where it is awaited.
  ended.promise.catch(() => undefined);
  for await (const chunk of data)
    if (!entry.write(chunk))
      await Promise.race([new Promise<void>((resolve) => entry.once('drain', () => resolve())), ended.promise]);
  entry.end(Buffer.alloc(0));
  await ended.promise;
};

// eslint-disable-next-line @typescript-eslint/require-await
async function* once(data: Buffer): AsyncGenerator<Buffer> {
  yield data;
}

const fillAll = async (tar: Pack, content: ArchiveContent): Promise<void> => {
  const manifest = Buffer.from(content.manifest);
  await fill(tar, MANIFEST, manifest.length, once(manifest));
  let index = 0;
  for await (const { bytes, data } of content.disks()) await fill(tar, diskName(index++), bytes, data);
  tar.finalize();
};

/** Written out, so that a zstd with other defaults gives the same bytes; no frame needs a larger window. */
const OPTIONS = {
  params: {
    [constants.ZSTD_c_compressionLevel]: 3,
    [constants.ZSTD_c_windowLog]: 17,
    [constants.ZSTD_c_checksumFlag]: 0,
  },
  chunkSize: 2 * IMAGE.frameBytes,
  readableHighWaterMark: 4 * IMAGE.frameBytes,
};

/** Frames by one compressor: one for each frame would be much garbage. */
class Framer {
  readonly #zstd = createZstdCompress(OPTIONS);

  async add(data: Buffer): Promise<Buffer> {
    const ended = Promise.withResolvers<undefined>();
    this.#zstd.once('error', ended.reject);
    this.#zstd.write(data);
    this.#zstd.flush(constants.ZSTD_e_end, () => ended.resolve(undefined));
    await ended.promise;
    this.#zstd.off('error', ended.reject);
    const pieces: Buffer[] = [];
    for (let piece = this.#zstd.read() as Buffer | null; piece; piece = this.#zstd.read() as Buffer | null)
      pieces.push(piece);
    return Buffer.concat(pieces);
  }

  close(): void {
    this.#zstd.close();
  }
}

/**
 * A tar in zstd frames of IMAGE.frameBytes: tarfs(5) mounts it and reads any place of a disk. The same content gives
 * the same bytes.
 */
export const packImage = async function* (content: ArchiveContent): AsyncGenerator<Buffer> {
  const tar = packTar();
  const filling = fillAll(tar, content).catch((error: unknown) => {
    tar.destroy(error instanceof Error ? error : new Error(messageOf(error)));
    throw error;
  });
  filling.catch(() => undefined);
  const inbox = new Inbox(tar as unknown as AsyncIterable<Uint8Array>);
  const framer = new Framer();
  const room = Buffer.alloc(IMAGE.frameBytes);
  try {
    for (let bytes = await inbox.takeInto(room); bytes > 0; bytes = await inbox.takeInto(room))
      yield await framer.add(room.subarray(0, bytes));
  } finally {
    framer.close();
  }
  await filling;
};

const bad = (reason: string): BrigError => new BrigError('image.invalid', `read archive: ${reason}`);

/** What a tar may hold and an image never does. Source: tar(5), typeflag. */
const STRANGE: Readonly<Record<string, string>> = {
  '1': 'a hard link',
  '2': 'a symbolic link',
  '3': 'a device',
  '4': 'a device',
  '5': 'a directory',
  '6': 'a FIFO',
  '7': 'a file of another kind',
  x: 'an extended header',
  g: 'an extended header',
  L: 'an extended header',
  K: 'an extended header',
};

/** One header, as tar-stream reads it: nothing after it is looked at. */
const decodeHeader = (block: Buffer): Promise<Header> =>
  new Promise((resolve, reject) => {
    const tar = extractTar();
    tar.on('entry', (header) => resolve(header));
    tar.on('error', (error) => reject(bad(`expected a tar header, got something else (${error.message})`)));
    tar.write(block);
  });

/** The next file; undefined at the end, after which nothing may come. Errors: image.invalid for all that is no plain file. */
const nextFile = async (inbox: Inbox): Promise<{ readonly name: string; readonly size: number } | undefined> => {
  const block = await inbox.take(BLOCK);
  if (block.length < BLOCK) throw bad('it is cut short');
  if (block.every((byte) => byte === 0)) return undefined;
  const type = block.toString('latin1', 156, 157).replace('\0', '0');
  const shown = JSON.stringify(block.toString('latin1', 0, 100).replace(/\0.*$/s, ''));
  if (type !== '0')
    throw bad(`expected plain files, got ${STRANGE[type] ?? `an entry of type ${JSON.stringify(type)}`}: ${shown}`);
  const { name, size } = await decodeHeader(block);
  if (!Number.isSafeInteger(size) || size < 0) throw bad(`expected a size, got another in the header of ${shown}`);
  return { name, size };
};

const checkName = (name: string, expected: string, seen: ReadonlySet<string>): void => {
  const shown = JSON.stringify(name.slice(0, 100));
  if (name.startsWith('/') || name.split('/').includes('..')) throw bad(`a path that leads out of it: ${shown}`);
  if (seen.has(name)) throw bad(`${shown} is there twice`);
  if (name !== expected) throw bad(`expected ${expected}, got ${shown}`);
};

const skipPadding = async (inbox: Inbox, size: number): Promise<void> => {
  const padding = (BLOCK - (size % BLOCK)) % BLOCK;
  if ((await inbox.take(padding)).length < padding) throw bad('it is cut short');
};

const body = async function* (inbox: Inbox, size: number): AsyncGenerator<Buffer> {
  for (let left = size; left > 0;) {
    const chunk = await inbox.some(left);
    if (chunk.length === 0) throw bad('it is cut short');
    left -= chunk.length;
    yield chunk;
  }
  await skipPadding(inbox, size);
};

/** Two empty blocks, and padding of the one who wrote it. */
const checkEnd = async (inbox: Inbox): Promise<void> => {
  for await (const chunk of inbox.rest())
    if (chunk.some((byte) => byte !== 0)) throw bad('something comes after its end');
};

/**
 * An archive as it is read: the manifest first, then its disks in order and nothing else. Nothing is believed: sizes
 * and digests are for whoever has the manifest. Errors: image.invalid.
 */
export const unpackImage = async (inbox: Inbox): Promise<ArchiveContent> => {
  const first = await nextFile(inbox);
  if (!first) throw bad('it is empty');
  checkName(first.name, MANIFEST, new Set());
  if (first.size > IMAGE.manifestBytes)
    throw bad(`expected a manifest of at most ${IMAGE.manifestBytes} bytes, got ${first.size}`);
  const manifest = await inbox.take(first.size);
  if (manifest.length < first.size) throw bad('it is cut short');
  await skipPadding(inbox, first.size);
  return {
    manifest: manifest.toString('utf8'),
    disks: async function* () {
      const seen = new Set([MANIFEST]);
      for (let index = 0; ; index++) {
        const file = await nextFile(inbox);
        if (!file) return await checkEnd(inbox);
        if (index >= IMAGE.disks) throw bad(`expected at most ${IMAGE.disks} disks, got more`);
        checkName(file.name, diskName(index), seen);
        seen.add(file.name);
        yield { bytes: file.size, data: body(inbox, file.size) };
      }
    },
  };
};

/** Whether bytes begin like a tar. Source: tar(5), magic. */
export const isTar = (head: Buffer): boolean => head.toString('latin1', 257, 262) === 'ustar';
