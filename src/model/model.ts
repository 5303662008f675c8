import type { Host } from '../base/host.ts';
import { BrigError } from '../base/errors.ts';
import { install, reboot } from './boot.ts';
import { addDevice } from './devices.ts';
import { put } from './files.ts';
import { createHost, type Faults, type Meter } from './host.ts';
import { endProcess } from './processes.ts';
import { stateOf, type State } from './state.ts';
import { World, type ModelOptions, type Node, type Posture } from './world.ts';

/** A person at the guest, whether it runs or not. */
export interface Guest {
  readonly running: boolean;
  /** Host pid of its bhyve. */
  readonly pid: number | undefined;
  /** Everything it ever wrote to its serial port, over all runs. */
  readonly output: string;
  /** The guest does not react to its power button. Stays set over runs. */
  ignoreAcpi: boolean;
  /** Its bhyve dies of a signal. Errors: model.argv when it does not run. */
  crash(signal: number): void;
  /** Keys on its serial port: q powers off, r resets, h halts, t triple-faults, the rest is echoed. */
  type(text: string): void;
}

/** A FreeBSD 15 in memory. */
export interface Model extends Faults {
  readonly host: Host;
  readonly clock: { now(): number; advance(ms: number): Promise<void> };
  readonly state: State;
  /** What the host is beside brig. */
  readonly posture: Posture;
  /** What all commands and spawns cost so far, in units of one fork and exec (FACTS S.19). */
  readonly costUnits: number;
  /** Commands so far. */
  readonly commands: number;
  guest(name: string): Guest;
  /** A machine in vmm(4) that somebody made by hand. */
  plantMachine(name: string): void;
  /** A file or directory of another model's, or of an earlier moment: a copy. */
  plantFile(path: string, node: Readonly<Node>): void;
  /** An entry of passwd(5). */
  addUser(uid: number, name: string): void;
  /** Sets a sysctl as loader.conf(5) would: also what a running host may not set; it survives reboots. */
  setTunable(name: string, value: string): void;
  /**
   * The host goes down and comes up again. Files stay, except below /var/run and `volatile`.
   * What was under way never answers: whoever asked is gone too.
   */
  reboot(volatile?: readonly string[]): void;
}

const guestOf = (world: World, name: string): Guest => {
  const state = world.guest(name);
  const machine = (attempt: string) => {
    if (state.machine) return state.machine;
    throw new BrigError('model.argv', `model ${attempt} ${name}: the guest does not run`);
  };
  return {
    get running() {
      return state.machine !== undefined;
    },
    get pid() {
      return state.machine?.process.pid;
    },
    get output() {
      return state.output;
    },
    get ignoreAcpi() {
      return state.ignoreAcpi;
    },
    set ignoreAcpi(value: boolean) {
      state.ignoreAcpi = value;
    },
    crash: (signal) => endProcess(world, machine('crash').process, 128 + signal),
    type: (text) => machine('type').input(text),
  };
};

/** A fresh FreeBSD: base system, vtnet0, lo0, no modules; with `pool` a pool of that name. */
export const createModel = (options: ModelOptions = {}): Model => {
  const world = new World(options);
  const meter: Meter = { costTenths: 0, commands: 0, acts: 0 };
  install(world);
  const faults: Faults = {};
  return {
    host: createHost(world, faults, meter),
    clock: { now: () => world.clock.now(), advance: (ms) => world.clock.advance(ms) },
    state: stateOf(world),
    posture: world.posture,
    get onCommand() {
      return faults.onCommand;
    },
    set onCommand(hook) {
      faults.onCommand = hook;
    },
    get onEffect() {
      return faults.onEffect;
    },
    set onEffect(hook) {
      faults.onEffect = hook;
    },
    get costUnits() {
      return meter.costTenths / 10;
    },
    get commands() {
      return meter.commands;
    },
    guest: (name) => guestOf(world, name),
    plantMachine: (name) => addDevice(world, { name: `vmm/${name}`, mode: 0o600, uid: 0, gid: 0 }),
    plantFile: (path, node) => void put(world, path, structuredClone(node)),
    addUser: (uid, name) => void world.users.set(uid, name),
    setTunable: (name, value) => {
      world.tunables.set(name, value);
      world.sysctls.set(name, value);
    },
    reboot: (volatile = []) => reboot(world, volatile),
  };
};
