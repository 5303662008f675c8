import { BrigError, messageOf } from '../base/errors.ts';
import type { DiskPort } from '../base/host.ts';
import { Rooms } from '../base/inbox.ts';
import { IMAGE } from '../base/limits.ts';
import type { Piece } from '../platform/images.ts';
import type { ImageDisk } from '../spec/image.ts';
import { volumeBytes } from './file-disks.ts';
import { DiskHash, isZero } from './receive.ts';

type Open = () => Promise<DiskPort>;

/** A disk chunk by chunk, each its reader's for the next three; volumes are read by whole blocks. */
export const chunksOf = async function* (bytes: number, open: Open): AsyncGenerator<Buffer<ArrayBuffer>> {
  const port = await open();
  const rooms = new Rooms(IMAGE.chunkBytes);
  try {
    for (let at = 0; at < bytes; at += IMAGE.chunkBytes) {
      const room = rooms.next(Math.min(IMAGE.chunkBytes, volumeBytes(bytes - at)));
      yield room.subarray(0, Math.min(await port.read(at, room), bytes - at));
    }
  } finally {
    await port.close();
  }
};

const compare = async (index: number, disk: ImageDisk, open: Open): Promise<string[]> => {
  const hash = new DiskHash();
  const wrong: number[] = [];
  for await (const chunk of chunksOf(disk.bytes, open)) {
    const { index: at, sha256 } = await hash.add(chunk);
    if (sha256 !== disk.chunks[at]) wrong.push(at);
  }
  const { sha256, bytes } = hash.end();
  if (bytes !== disk.bytes) return [`disk ${index} has ${bytes} bytes, and was signed with ${disk.bytes}`];
  if (wrong.length === 0) return sha256 === disk.sha256 ? [] : [`disk ${index} is not the one that was signed`];
  const first = (wrong[0] ?? 0) * IMAGE.chunkBytes;
  const count = `${wrong.length} of ${disk.chunks.length} chunks`;
  return [`disk ${index} differs from what was signed in ${count}, first at byte ${first}`];
};

/** How a disk differs from what was signed; all of it is read. */
export const checkDisk = (index: number, disk: ImageDisk, open: Open): Promise<string[]> =>
  compare(index, disk, open).catch((error: unknown) => [messageOf(error)]);

/** The pieces of a disk, each as it was signed. Errors: image.invalid at the first that is not. */
export const readDisk = async function* (
  what: string,
  disk: number,
  expected: ImageDisk,
  open: Open,
): AsyncGenerator<Piece> {
  const hash = new DiskHash();
  for await (const chunk of chunksOf(expected.bytes, open)) {
    const { index, sha256 } = await hash.add(chunk);
    if (sha256 !== expected.chunks[index])
      throw new BrigError(
        'image.invalid',
        `read ${what}: chunk ${index} of disk ${disk} is not the one that was signed`,
      );
    yield isZero(chunk) ? { zeros: chunk.length } : { data: chunk };
  }
};
