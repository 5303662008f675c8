import { closeTaps, releaseWedge } from './network.ts';
import { reapJails } from './reap.ts';
import type { Process, World } from './world.ts';

export const SIGNALS: Readonly<Record<string, number>> = {
  HUP: 1,
  INT: 2,
  QUIT: 3,
  ABRT: 6,
  KILL: 9,
  SEGV: 11,
  PIPE: 13,
  TERM: 15,
  STOP: 17,
  CONT: 19,
};

/** A new process of root on the host. */
export const startProcess = (world: World, command: string, ppid: number): Process => {
  const process: Process = {
    pid: world.nextPid(),
    ppid,
    jid: 0,
    uid: 0,
    gid: 0,
    groups: [0, 5],
    stat: 'S',
    command,
    stdio: [],
    environment: [],
    limits: new Map(),
    rssKilobytes: 2_900,
    startedMs: world.clock.now(),
    opened: new Set(),
    onExit: [],
  };
  world.processes.set(process.pid, process);
  return process;
};

export const isAlive = (world: World, process: Process): boolean => world.processes.get(process.pid) === process;

/** The end of a process; 128 + n after signal n. What it held is let go before anybody hears of it. */
export const endProcess = (world: World, process: Process, status: number): void => {
  if (!isAlive(world, process)) return;
  world.processes.delete(process.pid);
  for (const child of world.processes.values()) if (child.ppid === process.pid) child.ppid = 1;
  closeTaps(world, process.pid);
  endVms(world, process.pid, status);
  releaseWedge(world);
  reapJails(world);
  for (const tell of process.onExit) tell(status);
};

/**
 * vmm(4) keeps the machine. After a signal its vCPUs are not suspended, so the next start finds it busy (FACTS 2).
 * unrecorded: after an initialisation error it is not busy; two such starts in a row were seen without a destroy
 */
const endVms = (world: World, pid: number, status: number): void => {
  for (const vm of world.vms.values())
    if (vm.pid === pid) {
      vm.ended = true;
      vm.stale = status > 128;
    }
};

/** Now, or when a stopped process goes on. */
export const whenOn = (process: Process, work: () => void): void => {
  if (process.stopped) process.stopped.push(work);
  else work();
};

const goOn = (process: Process): void => {
  const { stopped = [] } = process;
  delete process.stopped;
  for (const work of stopped) work();
};

/** Delivers a signal; what a process does not handle ends it. */
export const signal = (world: World, process: Process, number: number): void => {
  if (process.pid === 1) return;
  if (number === SIGNALS['STOP']) process.stopped ??= [];
  else if (number === SIGNALS['CONT']) goOn(process);
  else if (number === SIGNALS['KILL']) endProcess(world, process, 128 + number);
  else whenOn(process, () => deliver(world, process, number));
};

const deliver = (world: World, process: Process, number: number): void => {
  if (!isAlive(world, process)) return;
  const handled = process.onSignal?.(number) === true;
  if (!handled) endProcess(world, process, 128 + number);
};
