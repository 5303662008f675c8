import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Stage } from '../demo/stage.ts';

const BYTES = 512 * 2 ** 20;
const BLOCK = 65_536;

/** Writes like a guest. */
const writeTo = (fifo: string, block: string, bytes?: number): ChildProcess =>
  spawn(
    '/usr/bin/dd',
    ['if=/dev/zero', `of=${fifo}`, `bs=${block}`, ...(bytes === undefined ? [] : [`count=${bytes / BLOCK}`])],
    { stdio: 'ignore' },
  );

const rate = async (done: Promise<unknown>): Promise<number> => {
  const startMs = performance.now();
  await done;
  return BYTES / 1000 / (performance.now() - startMs);
};

const ended = (child: ChildProcess): Promise<unknown> => new Promise((resolve) => child.once('close', resolve));

const catRate = async (): Promise<number> => {
  const dir = mkdtempSync('/var/tmp/brig-fifo-');
  const fifo = join(dir, 'fifo');
  spawnSync('/usr/bin/mkfifo', [fifo]);
  const cat = spawn('/bin/cat', [fifo], { stdio: 'ignore' });
  const done = ended(cat);
  writeTo(fifo, String(BLOCK), BYTES);
  const found = await rate(done);
  rmSync(dir, { recursive: true });
  return found;
};

const outOf = (stage: Stage, vm: string): string => `${stage.dir}/run/vms/${vm}/con.out`;

/** A running VM's console through brigd's API, and a FIFO through cat(1). Units: 10^6 bytes a second. */
export const consoleRate = async (stage: Stage, vm: string): Promise<{ brig: number; reference: number }> => {
  const reference = await catRate();
  const { stream } = await stage.client.console(vm, { replayBytes: 0 });
  let bytes = 0;
  const all = new Promise<void>((resolve) =>
    stream.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes >= BYTES) resolve();
    }),
  );
  writeTo(outOf(stage, vm), String(BLOCK), BYTES);
  const brig = await rate(all);
  stream.destroy();
  return { brig, reference };
};

/** Of the kernel's clock, which counts 100 a second on Linux. Source: proc_pid_stat(5), utime and stime. */
const ticksOf = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return Number(fields[11]) + Number(fields[12]);
};

const SECONDS = 10;

/** What brigd takes of a core, more than at rest, while a console says as much as it can. Units: percent. */
export const floodCost = async (stage: Stage, vm: string, block: string): Promise<number> => {
  const spent = async (): Promise<number> => {
    const before = ticksOf(stage.daemonPid);
    await sleep(SECONDS * 1000);
    return (ticksOf(stage.daemonPid) - before) / SECONDS;
  };
  const rest = await spent();
  const writer = writeTo(outOf(stage, vm), block);
  const flooded = await spent();
  writer.kill('SIGKILL');
  await ended(writer);
  return flooded - rest;
};
