import type { DiskPort, Host } from '../base/host.ts';
import { IMAGE } from '../base/limits.ts';
import type { DiskSink, ImageDisks } from '../platform/images.ts';

const ROOT = { uid: 0, gid: 0 };
/** Nobody but root enters; what is in it every VM's process may read, once root has shown it to it. */
const PRIVATE = { mode: 0o700, ...ROOT };
const DISK = { mode: 0o444, ...ROOT };

/** The disk of the machine begins early: what is written must be durable in the end, and waits for nobody. */
const SYNC_BYTES = 64 * 2 ** 20;

class FileSink implements DiskSink {
  readonly #port: DiskPort;
  #unsynced = 0;
  #syncing: Promise<unknown> | undefined;
  #trouble: unknown;

  constructor(port: DiskPort) {
    this.#port = port;
  }

  async write(at: number, data: Uint8Array): Promise<void> {
    await this.#port.write(at, data);
    this.#unsynced += data.length;
    if (this.#unsynced < SYNC_BYTES || this.#syncing) return;
    this.#unsynced = 0;
    // The kernel tells of a failure once only.
    this.#syncing = this.#port
      .sync()
      .catch((error: unknown) => (this.#trouble ??= error))
      .finally(() => (this.#syncing = undefined));
  }

  async finish(bytes: number): Promise<void> {
    await this.#syncing;
    if (this.#trouble instanceof Error) throw this.#trouble;
    await this.#port.resize(bytes);
    await this.#port.sync();
    await this.#port.close();
  }

  async abandon(): Promise<void> {
    await this.#syncing;
    await this.#port.close();
  }
}

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
      return new FileSink(await host.openDisk(path, 'write'));
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
