import { BrigError, messageOf } from '../base/errors.ts';
import type { Command, DiskPort, Host, Result, Tolerance } from '../base/host.ts';
import { LIMITS } from '../base/limits.ts';
import { volumeBytes } from '../image/file-disks.ts';
import type { DiskSink, ImageDisks } from '../platform/images.ts';
import {
  cloneForReading,
  createImageDataset,
  createImageVolume,
  DATASET_BUSY,
  DEPENDENT_CLONES,
  destroyAll,
  growVolume,
  HELD,
  hold,
  listImages,
  listSnapshots,
  markImage,
  NO_DATASET,
  NO_HOLD,
  release,
  renameDataset,
  sealVolume,
  snapshot,
} from './programs/zfs.ts';

/** Volumes grow by doubling from here while a disk comes in whose size nobody knows. Units: bytes. */
const FIRST_BYTES = 2 ** 30;

const isIt = ({ status, stderr }: Result, it: Tolerance): boolean =>
  status === it.status && stderr.includes(it.stderr ?? '');

const failed = ({ program, args }: Command, { status, stderr, timedOut }: Result): BrigError =>
  new BrigError(
    timedOut ? 'host.timeout' : 'host.failed',
    `run ${[program, ...args].join(' ')}: ${timedOut ? 'no answer' : `status ${status}: ${stderr.trim().replaceAll('\n', '; ')}`}`,
  );

/** The answer; undefined where it is the tolerated one. Errors: host.failed, host.timeout. */
const must = async (host: Host, command: Command, tolerated?: Tolerance): Promise<string | undefined> => {
  for (const giveUpAt = host.now() + LIMITS.busyTimeoutMs; ;) {
    const result = await host.run(command);
    if (result.status === 0 && !result.timedOut) return result.stdout;
    if (tolerated && isIt(result, tolerated)) return undefined;
    // The last descriptor of a device is closed a moment after its process is told.
    if (!isIt(result, DATASET_BUSY) || host.now() >= giveUpAt) throw failed(command, result);
    await host.sleep(LIMITS.probeMaxMs);
  }
};

const linesOf = (text = ''): string[][] =>
  text
    .split('\n')
    .filter(Boolean)
    .map((line) => line.split('\t'));

/** The device of a volume; with other modes than dev it may come late (FACTS 6.1). */
export const openVolume = async (host: Host, dataset: string, mode: 'read' | 'write'): Promise<DiskPort> => {
  const path = `/dev/zvol/${dataset}`;
  for (const giveUpAt = host.now() + LIMITS.busyTimeoutMs; !(await host.stat(path)) && host.now() < giveUpAt;)
    await host.sleep(LIMITS.probeMaxMs);
  return await host.openDisk(path, mode);
};

/** A snapshot as a volume of its own, below the parent of images, which goes when it is closed. */
export const openClone = async (host: Host, snapshotName: string, parent: string): Promise<DiskPort> => {
  const name = `${parent}/new-read-${Buffer.from(host.random(8)).toString('hex')}`;
  await must(host, createImageDataset(parent));
  await must(host, cloneForReading(snapshotName, name));
  const destroy = () => must(host, destroyAll(name), NO_DATASET);
  try {
    const port = await openVolume(host, name, 'read');
    const close = async (): Promise<void> => {
      await port.close();
      await destroy();
    };
    return { ...port, close };
  } catch (error) {
    await destroy();
    throw error;
  }
};

/** A volume that grows with what is written to it. */
class VolumeSink implements DiskSink {
  readonly #host: Host;
  readonly #dataset: string;
  #port: DiskPort;
  #bytes: number;

  private constructor(host: Host, dataset: string, port: DiskPort, bytes: number) {
    this.#host = host;
    this.#dataset = dataset;
    this.#port = port;
    this.#bytes = bytes;
  }

  static async create(host: Host, dataset: string, id: string, bytes: number): Promise<VolumeSink> {
    await must(host, createImageVolume(dataset, bytes, id));
    return new VolumeSink(host, dataset, await openVolume(host, dataset, 'write'), bytes);
  }

  async #size(bytes: number): Promise<void> {
    await this.#port.close();
    await must(this.#host, growVolume(this.#dataset, bytes));
    this.#bytes = bytes;
  }

  async write(at: number, data: Uint8Array): Promise<void> {
    const end = volumeBytes(at + data.length);
    if (end > this.#bytes) {
      let bytes = this.#bytes;
      while (bytes < end) bytes *= 2;
      await this.#size(bytes);
      this.#port = await openVolume(this.#host, this.#dataset, 'write');
    }
    const whole = data.length === end - at ? data : Buffer.concat([data], end - at);
    await this.#port.write(at, whole);
  }

  /** The snapshot that follows makes it durable. */
  async finish(bytes: number): Promise<void> {
    if (volumeBytes(bytes) !== this.#bytes) await this.#size(volumeBytes(bytes));
    else await this.#port.close();
  }

  async abandon(): Promise<void> {
    await this.#port.close();
  }
}

/**
 * Disks of images as volumes: PARENT/DIGEST/diskN, each with a snapshot that VMs clone and brig holds.
 * What is on its way is PARENT/new-...; a rename makes it the image's.
 */
export const zfsDisks = (parent: string): ImageDisks => {
  const datasetOf = (id: string): string => `${parent}/${id}`;
  const volumeOf = (id: string, disk: number): string => `${datasetOf(id)}/disk${disk}`;
  const snapshotOf = (id: string, disk: number): string => `${volumeOf(id, disk)}@base`;
  const snapshotsOf = async (host: Host, id: string): Promise<string[][]> =>
    linesOf(await must(host, listSnapshots(datasetOf(id)), NO_DATASET));

  return {
    kind: 'zfs',
    prepare: () => Promise.resolve(),
    list: async (host) =>
      linesOf(await must(host, listImages(parent), NO_DATASET)).flatMap(([name = '']) => {
        const id = name.slice(parent.length + 1);
        return id !== '' && !id.includes('/') ? [id] : [];
      }),
    begin: async (host, id) => {
      await must(host, createImageDataset(parent));
      await must(host, createImageDataset(datasetOf(id), id));
    },
    create: (host, id, disk, bytes = FIRST_BYTES) =>
      VolumeSink.create(host, volumeOf(id, disk), id, volumeBytes(bytes)),
    settle: async (host, id, digest, disks) => {
      const numbers = Array.from({ length: disks }, (_, i) => i);
      for (const i of numbers) await must(host, sealVolume(volumeOf(id, i)));
      await must(host, snapshot(numbers.map((i) => snapshotOf(id, i))));
      await must(host, renameDataset(datasetOf(id), datasetOf(digest)));
      await must(host, markImage(datasetOf(digest), digest));
      await must(host, hold(numbers.map((i) => snapshotOf(digest, i))));
    },
    // Of the snapshot: the volume itself somebody may have written to.
    open: (host, digest, disk) => openClone(host, snapshotOf(digest, disk), parent),
    origin: (digest, disk) => ({ zvol: snapshotOf(digest, disk) }),
    isWhole: async (host, digest, { disks }) => {
      const found = new Map((await snapshotsOf(host, digest)).map(([name = '', holds = '0']) => [name, Number(holds)]));
      if (!disks.every((_, i) => found.has(snapshotOf(digest, i)))) return false;
      const free = disks.flatMap((_, i) => (found.get(snapshotOf(digest, i)) === 0 ? [snapshotOf(digest, i)] : []));
      if (free.length > 0) await must(host, hold(free));
      return true;
    },
    remove: async (host, id) => {
      const names = (await snapshotsOf(host, id)).flatMap(([name = '']) => (name === '' ? [] : [name]));
      for (const name of names) await must(host, release(name), NO_HOLD);
      try {
        await must(host, destroyAll(datasetOf(id)), NO_DATASET);
      } catch (error) {
        if (names.length > 0) await must(host, hold(names)).catch(() => undefined);
        const isUsed = messageOf(error).includes(DEPENDENT_CLONES) || messageOf(error).includes(HELD);
        throw isUsed ? new BrigError('image.inUse', `remove image ${id.slice(0, 12)}: ${messageOf(error)}`) : error;
      }
    },
  };
};
