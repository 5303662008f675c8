import type { Host } from '../base/host.ts';
import { IMAGE } from '../base/limits.ts';
import type { ImageDisks } from '../platform/images.ts';

const ROOT = { uid: 0, gid: 0 };
/** Nobody but root enters; what is in it every VM's process may read, once root has shown it to it. */
const PRIVATE = { mode: 0o700, ...ROOT };
const DISK = { mode: 0o444, ...ROOT };

/** Disks of images as sparse files: DIRECTORY/DIGEST/diskN.raw. */
export const fileDisks = (directory: string): ImageDisks => {
  const pathOf = (id: string, disk: number): string => `${directory}/${id}/disk${disk}.raw`;
  return {
    kind: 'files',
    prepare: (host) => host.mkdir(directory, PRIVATE),
    list: async (host) => (await host.list(directory)) ?? [],
    begin: (host, id) => host.mkdir(`${directory}/${id}`, PRIVATE),
    create: async (host, id, disk) => {
      const path = pathOf(id, disk);
      await host.allocate(path, 0, DISK);
      const port = await host.openDisk(path, 'write');
      return {
        write: (at, data) => port.write(at, data),
        finish: async (bytes) => {
          await port.resize(bytes);
          await port.sync();
          await port.close();
        },
        abandon: () => port.close(),
      };
    },
    settle: (host, id, digest) => host.rename(`${directory}/${id}`, `${directory}/${digest}`),
    open: (host, digest, disk) => host.openDisk(pathOf(digest, disk), 'read'),
    origin: (digest, disk) => ({ file: pathOf(digest, disk) }),
    isWhole: async (host, digest, { disks }) => {
      const found = await Promise.all(disks.map((_, i) => host.stat(pathOf(digest, i))));
      return disks.every(({ bytes }, i) => found[i]?.kind === 'file' && found[i].bytes === bytes);
    },
    remove: (host: Host, id) => host.remove(`${directory}/${id}`),
  };
};

/** Of a volume that is at least as large. Units: bytes. */
export const volumeBytes = (bytes: number): number =>
  Math.ceil(bytes / IMAGE.volumeBlockBytes) * IMAGE.volumeBlockBytes;
