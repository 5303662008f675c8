import type { Command, Host, Result } from '../base/host.ts';
import { BrigError } from '../base/errors.ts';
import { openDisk, rename } from './disk.ts';
import { openConsole, sayTo } from './console.ts';
import * as effects from './effects.ts';
import { listNames, normal } from './files.ts';
import { isPending, unknownArgv, type Answer, type Pending, type Program } from './program.ts';
import { costTenths, PROGRAMS } from './programs/table.ts';
import { startDetached } from './supervisor.ts';
import type { World } from './world.ts';

/** What goes wrong: nothing happens and it fails, it happens and fails, it never answers. */
export type Verdict = 'before' | 'after' | 'hang' | undefined;

/** Asked before everything that brig does; what it throws reaches brig as it is. `index` counts both kinds together. */
export interface Faults {
  onCommand?: ((command: Command, index: number) => Verdict) | undefined;
  onEffect?: ((name: string, path: string, index: number) => Verdict) | undefined;
}

/** Running counts, readable by benchmarks. */
export interface Meter {
  /** Tenths of FACTS S.19's unit. */
  costTenths: number;
  commands: number;
  /** Commands and effects. */
  acts: number;
}

const UNIT_MS = 5;
const TIMEOUT_STATUS = 124;
/** How long a hanging file effect is waited for: file effects have no patience of their own. */
const EFFECT_PATIENCE_MS = 60_000;
const FAULT = 'model: injected fault';

const timedOut = (said: { stdout: string; stderr: string } = { stdout: '', stderr: '' }): Result => ({
  status: TIMEOUT_STATUS,
  ...said,
  timedOut: true,
});

const never = (): Promise<never> => new Promise(() => undefined);

/** The host went down with whoever called it: nobody hears of what was under way. */
const passTime = async (world: World, ms: number): Promise<void> => {
  const { boot } = world;
  await world.clock.sleep(ms);
  if (world.boot !== boot) await never();
};

const waitFor = (world: World, pending: Pending, ms: number): Promise<Answer | 'again' | undefined> =>
  new Promise((resolve) => {
    const { boot } = world;
    const cancel = world.clock.after(ms, () => {
      if (world.boot !== boot) return;
      pending.abandon();
      resolve(undefined);
    });
    pending.wait((answer) => {
      cancel();
      resolve(answer);
    });
  });

const perform = async (world: World, program: Program, command: Command): Promise<Result> => {
  const deadline = world.clock.now() + command.timeoutMs;
  for (;;) {
    const outcome = program(world, command.args, command.stdin ?? '');
    if (!isPending(outcome)) return { ...outcome, timedOut: false };
    const answer = await waitFor(world, outcome, deadline - world.clock.now());
    if (answer === undefined) return timedOut(outcome.partial?.());
    if (answer !== 'again') return { ...answer, timedOut: false };
  }
};

const run = async (world: World, faults: Faults, meter: Meter, command: Command): Promise<Result> => {
  const program = PROGRAMS.get(command.program);
  if (!program) throw unknownArgv(command.program, command.args, 'no such program in the model');
  const verdict = faults.onCommand?.(command, meter.acts++);
  const tenths = costTenths(command.program, command.args);
  meter.costTenths += tenths;
  meter.commands += 1;
  if (verdict === 'hang') {
    await passTime(world, command.timeoutMs);
    return timedOut();
  }
  await passTime(world, (tenths * UNIT_MS) / 10);
  const injected: Result = { status: 1, stdout: '', stderr: `${FAULT}\n`, timedOut: false };
  if (verdict === 'before') return injected;
  const result = await perform(world, program, command);
  return verdict === 'after' ? injected : result;
};

const spawn = async (world: World, meter: Meter, { program, args }: Command): Promise<void> => {
  meter.costTenths += 10;
  await passTime(world, UNIT_MS);
  startDetached(world, program, args);
};

const watch = (world: World, directory: string, onChange: () => void): { close(): void } => {
  const path = normal(directory);
  const listeners = world.watchers.get(path) ?? new Set();
  // Two watchers may share a function.
  const listener = (): void => onChange();
  listeners.add(listener);
  world.watchers.set(path, listeners);
  return { close: () => void listeners.delete(listener) };
};

/** The port over a world: every effect asks for its fault first; commands take the time they cost. */
export const createHost = (world: World, faults: Faults, meter: Meter): Host => {
  const effect = async <T>(name: string, path: string, work: () => T | Promise<T>): Promise<T> => {
    const verdict = faults.onEffect?.(name, path, meter.acts++);
    if (verdict === 'before') throw new BrigError('host.failed', `${name} ${path}: ${FAULT}`);
    if (verdict === 'hang') {
      await passTime(world, EFFECT_PATIENCE_MS);
      throw new BrigError('host.timeout', `${name} ${path}: no answer`, { retry: 'operator' });
    }
    const answer = await work();
    if (verdict === 'after') throw new BrigError('host.failed', `${name} ${path}: ${FAULT}`);
    return answer;
  };
  const soon = <T>(work: () => T): Promise<T> => Promise.resolve().then(work);
  return {
    run: (command) => run(world, faults, meter, command),
    // Nobody has put a program of his own on this host.
    runAs: ({ program }) =>
      Promise.resolve({ status: 127, stdout: '', stderr: `${program}: not found`, timedOut: false }),
    spawn: (command) => effect('spawn', command.args[0] ?? command.program, () => spawn(world, meter, command)),
    readFile: (path) => soon(() => effects.readFile(world, path)),
    list: (path) => soon(() => listNames(world, path)),
    stat: (path) => soon(() => effects.statFile(world, path)),
    readLink: (path) => Promise.reject(new BrigError('model.argv', `read link ${path}: not known on FreeBSD`)),
    writeFile: (path, content, access) =>
      effect('writeFile', path, () => effects.writeFile(world, path, content, access)),
    copyFile: (from, to, access, growTo) =>
      effect('copyFile', to, () => effects.copyFile(world, from, to, access, growTo)),
    allocate: (path, bytes, access) => effect('allocate', path, () => effects.allocate(world, path, bytes, access)),
    identity: (path) => soon(() => effects.identity(world, path)),
    digest: (path) => soon(() => effects.digest(world, path)),
    head: (path, bytes) => soon(() => effects.head(world, path, bytes)),
    readArchive: (path) => soon(() => effects.readArchive(world, path)),
    pack: (entries, to, access) => effect('pack', to, () => effects.pack(world, entries, to, access)),
    mkdir: (path, access) => effect('mkdir', path, () => effects.mkdir(world, path, access)),
    remove: (path) => effect('remove', path, () => effects.remove(world, path)),
    rmdir: (path) => effect('rmdir', path, () => effects.rmdir(world, path)),
    openDisk: async (path, mode) => {
      const disk = await effect('openDisk', path, () => openDisk(world, path));
      if (mode === 'read') return disk;
      return {
        ...disk,
        write: (at, data) => effect('writeDisk', path, () => disk.write(at, data)),
        resize: (bytes) => effect('resizeDisk', path, () => disk.resize(bytes)),
        sync: () => effect('syncDisk', path, () => disk.sync()),
      };
    },
    rename: (from, to) => effect('rename', to, () => rename(world, from, to)),
    set: (path) => Promise.reject(new BrigError('model.argv', `set ${path}: not known on FreeBSD`)),
    say: (path, text) => effect('say', path, () => sayTo(world, path, text)),
    console: (inPath, outPath) => soon(() => openConsole(world, inPath, outPath)),
    watch: (directory, onChange) => watch(world, directory, onChange),
    connects: (address, port) => soon(() => world.posture.ports.has(`${address} ${port}`)),
    sleep: (ms) => world.clock.sleep(ms),
    now: () => world.clock.now(),
    random: (bytes) => effects.random(world, bytes),
  };
};
