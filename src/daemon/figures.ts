import { stat, statfs } from 'node:fs/promises';
import { availableParallelism, freemem, loadavg, totalmem } from 'node:os';
import type { NodeFigures } from '../api/metrics.ts';
import type { Store } from '../store/store.ts';

const sizeOf = async (path: string): Promise<number> => (await stat(path)).size;

/** The node and this process, as they are now. `path`: of the store. */
export const figuresOf =
  ({ epoch }: Pick<Store, 'epoch'>, path: string, stateDir: string) =>
  async (): Promise<NodeFigures> => {
    const [disk, store] = await Promise.all([statfs(stateDir), sizeOf(path)]);
    const { user, system } = process.cpuUsage();
    return {
      ...{ cpus: availableParallelism(), load: loadavg(), memory: { total: totalmem(), free: freemem() } },
      stateDir: {
        size: disk.blocks * disk.bsize,
        free: disk.bfree * disk.bsize,
        available: disk.bavail * disk.bsize,
      },
      ...{ store, epoch, resident: process.memoryUsage.rss(), uptimeSeconds: process.uptime() },
      cpuSeconds: (user + system) / 1e6,
    };
  };
