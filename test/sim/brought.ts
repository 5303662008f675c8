import { BrigError } from '../../src/base/errors.ts';
import { IMAGE } from '../../src/base/limits.ts';
import type { Incoming, Piece } from '../../src/platform/images.ts';

const ABOUT = { name: 'alpha', version: '1', arch: 'amd64', firmware: 'test', cloudInit: false, spec: {} } as const;

export const CHUNK = IMAGE.chunkBytes;

/** A disk of this many bytes: something at its beginning and at its end, zeros between. */
export const diskOf = (bytes: number, mark = 'a'): Buffer => {
  const disk = Buffer.alloc(bytes);
  disk.write(`begin ${mark}`);
  disk.write('end', bytes - 3);
  return disk;
};

const pieces = async function* (disk: Buffer): AsyncGenerator<Piece> {
  for (let at = 0; at < disk.length; at += CHUNK) {
    const data = disk.subarray(at, at + CHUNK);
    yield await Promise.resolve(data.every((byte) => byte === 0) ? { zeros: data.length } : { data });
  }
};

export interface Bringing {
  readonly about?: Record<string, unknown>;
  /** Instead of what the disks are about: an archive's manifest. */
  readonly manifest?: string;
  readonly provenance?: Record<string, unknown>;
  /** The sender goes away before its end. */
  readonly cut?: boolean;
}

/** One image as it comes in. */
export const bring = (disks: readonly Buffer[], { about, manifest, provenance, cut }: Bringing = {}): Incoming => ({
  offer:
    manifest === undefined
      ? { about: { ...ABOUT, ...about }, provenance: provenance ?? { source: 'test', verified: 'none' } }
      : { manifest, ...(provenance ? { provenance } : {}) },
  disks: async function* () {
    for (const disk of disks) yield await Promise.resolve(pieces(disk));
    if (cut) throw new BrigError('api.invalid', 'read disks: expected 5 bytes, got the end after 0');
  },
  end: () => Promise.resolve({ sha256: 'ab'.repeat(32) }),
});
