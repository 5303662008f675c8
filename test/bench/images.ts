import { spawnSync } from 'node:child_process';
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Stage } from '../demo/stage.ts';
import { bring, diskOf } from '../sim/brought.ts';
import { World } from '../sim/world.ts';
import { median } from './script.ts';

const ROUNDS = 3;
/** Enough of what programs are made of that compresses as disks do. */
const PROGRAM = process.execPath;
const COPIES = 6;
const DISK_BYTES = 2 ** 30;
const CREATES = 40;

const time = async (work: () => unknown): Promise<number> => {
  const startMs = performance.now();
  await work();
  return performance.now() - startMs;
};

const must = (program: string, args: readonly string[]): void => {
  const { status, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr}`);
};

/** Import of an archive of a 1 GiB disk, against `zstd -dc | sha256sum` of the same file. Units: milliseconds, medians; MiB. */
export const importCost = async (stage: Stage): Promise<{ ms: number; referenceMs: number; peakMiB: number }> => {
  const [disk, archive] = [join(stage.dir, 'disk'), join(stage.dir, 'disk.tar.zst')];
  const fd = openSync(disk, 'w');
  const program = readFileSync(PROGRAM);
  for (let i = 0; i < COPIES; i++) writeSync(fd, program, 0, program.length, 2 ** 20 + i * program.length);
  ftruncateSync(fd, DISK_BYTES);
  closeSync(fd);
  const brig = (...args: string[]): void => must(process.execPath, [...stage.command, 'image', ...args]);
  brig('import', disk, '--insecure', '--name', 'bench', '--version', '1');
  brig('export', 'bench', archive);
  const [imports, references]: [number[], number[]] = [[], []];
  for (let i = 0; i < ROUNDS; i++) {
    brig('rm', 'bench');
    references.push(await time(() => must('/bin/sh', ['-c', 'zstd -dcq "$1" | sha256sum', 'sh', archive])));
    imports.push(await time(() => brig('import', archive)));
  }
  brig('rm', 'bench');
  const peak = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${stage.daemonPid}/status`, 'utf8'))?.[1];
  return { ms: median(imports), referenceMs: median(references), peakMiB: Number(peak) / 1024 };
};

export interface ManyCost {
  readonly listMs: number;
  readonly gcMs: number;
  readonly createMs: number;
}

/** On the model, with so many VMs that were made of one image. Units: milliseconds, medians. */
export const manyCost = async (vms: number): Promise<ManyCost> => {
  const world = await new World({}).prepare();
  try {
    world.keeper.close();
    const images = await world.openImages();
    const { host } = world.mortal;
    await images.take(host, bring([diskOf(2 ** 20)]));
    const document = (i: number): unknown => ({ name: `vm${i}`, image: 'alpha', memory: '64M' });
    const complete = (i: number) => images.complete(host, document(i), { uefi: world.platform.uefi, arch: 'amd64' });
    const spec = await complete(0);
    for (let i = 0; i < vms; i++) world.store.addVm({ ...spec, name: `vm${i}` }, 0);
    const [lists, gcs, creates]: [number[], number[], number[]] = [[], [], []];
    for (let i = 0; i < CREATES; i++) {
      lists.push(await time(() => images.list(host)));
      gcs.push(await time(() => images.gc(host, true)));
      const made = await complete(vms + i);
      creates.push(await time(() => world.engine.create(made, { cause: 'operator' })));
    }
    return { listMs: median(lists), gcMs: median(gcs), createMs: median(creates) };
  } finally {
    world.close();
  }
};
