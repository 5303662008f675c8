import { createHash, webcrypto } from 'node:crypto';
import { BrigError } from '../base/errors.ts';
import { IMAGE } from '../base/limits.ts';
import type { DiskSink, Piece } from '../platform/images.ts';
import type { ImageDisk } from '../spec/image.ts';

const ZEROS = Buffer.alloc(IMAGE.chunkBytes);
const hex = (digest: ArrayBuffer): string => Buffer.from(digest).toString('hex');
export const isZero = (data: Uint8Array): boolean => ZEROS.subarray(0, data.length).equals(data);

const ZERO_DIGEST = createHash('sha256').update(ZEROS).digest('hex');
/** Beside the main thread, which hashes the whole meanwhile. */
const digestOf = async (data: Buffer<ArrayBuffer>): Promise<string> =>
  data.length === ZEROS.length && isZero(data) ? ZERO_DIGEST : hex(await webcrypto.subtle.digest('SHA-256', data));

/** Pieces as they come, cut into chunks: zeros share one buffer. */
const toChunks = async function* (pieces: AsyncIterable<Piece>): AsyncGenerator<Buffer<ArrayBuffer>> {
  let isLast = false;
  for await (const piece of pieces) {
    if (isLast)
      throw new BrigError('api.invalid', 'read disk: expected whole chunks before the last, got a part of one');
    if ('data' in piece) {
      if (piece.data.length > IMAGE.chunkBytes)
        throw new BrigError('api.invalid', `read disk: expected at most ${IMAGE.chunkBytes} bytes at once, got more`);
      isLast = piece.data.length < IMAGE.chunkBytes;
      yield piece.data as Buffer<ArrayBuffer>;
    } else
      for (let left = piece.zeros; left > 0; left -= IMAGE.chunkBytes) {
        isLast = left < IMAGE.chunkBytes;
        yield ZEROS.subarray(0, Math.min(left, IMAGE.chunkBytes));
      }
  }
};

/** Digests of a disk that goes by, chunk after chunk. */
export class DiskHash {
  readonly #whole = createHash('sha256');
  readonly #chunks: string[] = [];
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  /** The digest of this chunk, and which it is. */
  async add(chunk: Buffer<ArrayBuffer>): Promise<{ readonly index: number; readonly sha256: string }> {
    const digest = digestOf(chunk);
    this.#whole.update(chunk);
    this.#bytes += chunk.length;
    const sha256 = await digest;
    this.#chunks.push(sha256);
    return { index: this.#chunks.length - 1, sha256 };
  }

  end(): ImageDisk {
    return { bytes: this.#bytes, sha256: this.#whole.digest('hex'), chunks: this.#chunks };
  }
}

const damaged = (what: string, expected: string | number, got: string | number): BrigError =>
  new BrigError('image.invalid', `import image: ${what}: expected ${expected}, got ${got}`);

/** Of a chunk that was signed: refused before it is written. */
const check = (index: number, sha256: string, bytes: number, expected: ImageDisk): void => {
  if (bytes > expected.bytes) throw damaged('a disk is longer than was signed', `${expected.bytes} bytes`, 'more');
  if (expected.chunks[index] !== sha256)
    throw damaged(`chunk ${index} is not the one that was signed`, expected.chunks[index] ?? 'none', sha256);
};

const checkWhole = (got: ImageDisk, expected: ImageDisk): void => {
  if (got.bytes !== expected.bytes)
    throw damaged('a disk is shorter than was signed', `${expected.bytes} bytes`, got.bytes);
  if (got.sha256 !== expected.sha256)
    throw damaged('a disk is not the one that was signed', expected.sha256, got.sha256);
};

/** Takes a disk in; zeros are not written. Errors: image.invalid when it is not the expected one; host.*. */
export const receiveDisk = async (
  pieces: AsyncIterable<Piece>,
  sink: DiskSink,
  expected: ImageDisk | undefined,
  signal: AbortSignal | undefined,
): Promise<ImageDisk> => {
  const hash = new DiskHash();
  let writing = Promise.resolve();
  try {
    for await (const chunk of toChunks(pieces)) {
      signal?.throwIfAborted();
      const at = hash.bytes;
      const { index, sha256 } = await hash.add(chunk);
      if (expected) check(index, sha256, hash.bytes, expected);
      else if (hash.bytes > IMAGE.diskBytes) throw damaged('a disk is too large', `${IMAGE.diskBytes} bytes`, 'more');
      await writing;
      if (!isZero(chunk)) writing = sink.write(at, chunk);
      // Told where it is awaited.
      writing.catch(() => undefined);
    }
    await writing;
    if (hash.bytes === 0) throw damaged('a disk', 'some bytes', 'none');
    const disk = hash.end();
    if (expected) checkWhole(disk, expected);
    await sink.finish(disk.bytes);
    return disk;
  } catch (error) {
    await writing.catch(() => undefined);
    await sink.abandon();
    throw error;
  }
};
