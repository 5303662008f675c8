import type { DiskPort } from '../base/host.ts';
import { BrigError } from '../base/errors.ts';
import { find, nameOf, put, take } from './files.ts';
import type { World } from './world.ts';

/** What a disk is kept in: a file's node or a volume. */
interface Bytes {
  content: Uint8Array;
}

const BLOCK_BYTES = 512;

const written = ({ content }: Bytes, at: number, data: Uint8Array): Uint8Array => {
  const grown = new Uint8Array(Math.max(content.length, at + data.length));
  grown.set(content);
  grown.set(data, at);
  return grown;
};

const read = ({ content }: Bytes, size: number, at: number, buffer: Buffer): number => {
  const bytes = Math.max(0, Math.min(buffer.length, size - at));
  buffer.fill(0, 0, bytes).set(content.subarray(at, at + bytes));
  return bytes;
};

const failed = (attempt: string, reason: string): BrigError => new BrigError('host.failed', `${attempt}: ${reason}`);

/** As node(1) opens a file, or the device of a volume. */
export const openDisk = (world: World, path: string): DiskPort => {
  const node = find(world, path);
  if (!node) throw failed(`open ${path}`, 'ENOENT: no such file or directory');
  if (node.kind === 'file')
    return {
      read: (at, buffer) => Promise.resolve(read(node, node.bytes, at, buffer)),
      write: (at, data) => {
        node.content = written(node, at, data);
        node.bytes = Math.max(node.bytes, node.content.length);
        return Promise.resolve();
      },
      resize: (bytes) => {
        node.content = node.content.slice(0, bytes);
        node.bytes = bytes;
        return Promise.resolve();
      },
      sync: () => Promise.resolve(),
      close: () => Promise.resolve(),
    };
  const volume = world.datasets.get(path.replace(/^\/dev\/zvol\//, ''));
  if (node.kind !== 'device' || volume?.type !== 'volume') throw failed(`open ${path}`, 'ENXIO: no such device');
  const check = (attempt: string, at: number, bytes: number): void => {
    // unrecorded: the text
    if (at % BLOCK_BYTES !== 0 || bytes % BLOCK_BYTES !== 0)
      throw failed(`${attempt} ${path}`, 'EINVAL: invalid argument');
    if (at + bytes > volume.volumeBytes && attempt === 'write') throw failed(`write ${path}`, 'EIO: i/o error');
  };
  return {
    read: async (at, buffer) => {
      await Promise.resolve();
      check('read', at, buffer.length);
      return read(volume, volume.volumeBytes, at, buffer);
    },
    write: async (at, data) => {
      await Promise.resolve();
      check('write', at, data.length);
      if (volume.properties.get('readonly') === 'on') throw failed(`write ${path}`, 'EROFS: read-only file system');
      volume.content = written(volume, at, data);
    },
    resize: () => Promise.reject(failed(`size ${path}`, 'EINVAL: invalid argument')),
    sync: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
};

export const rename = (world: World, from: string, to: string): void => {
  const attempt = `rename ${from} to ${to}`;
  const node = find(world, from);
  if (!node) throw failed(attempt, 'ENOENT: no such file or directory');
  if (find(world, to)) throw failed(attempt, 'EEXIST: file already exists');
  const problem = put(world, to, node) ?? take(world, from);
  if (problem !== undefined) throw failed(attempt, `${problem} (${nameOf(from)})`);
};
