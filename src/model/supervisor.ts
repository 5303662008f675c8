import { find, newFifo, newFile, put, take } from './files.ts';
import type { Stdio } from './guest.ts';
import { launch, parseEntry, parseEnv, parseLaunch, type Entry, type Launch } from './launch.ts';
import { readFifo, writeFifo } from './pipes.ts';
import { endProcess, isAlive, signal, SIGNALS, startProcess, whenOn } from './processes.ts';
import { must, unknownArgv } from './program.ts';
import { startTpm } from './tpm.ts';
import { destroyVm } from './vmm.ts';
import type { FifoNode, FileNode, Process, World } from './world.ts';

const TERM = 15;
const SHELL = '/bin/sh';
const ENV = '/usr/bin/env';
const IGNORED: readonly (number | undefined)[] = [SIGNALS['HUP'], SIGNALS['INT'], SIGNALS['QUIT'], SIGNALS['PIPE']];
/** From the end of the process to the shell's next step, and what bhyvectl(8) takes. */
const REACT_MS = 2;
const DESTROY_MS = 5;
const ERR_BYTES = 2 ** 20;
const PRIVATE = { mode: 0o600, uid: 0, gid: 0 };

interface Order {
  readonly name: string;
  /** Its name in vmm(4). */
  readonly machine: string;
  readonly sockets: readonly string[];
  readonly dir: string;
  readonly exits: string;
  readonly run: string;
  readonly resets: number;
  readonly windowSeconds: number;
  readonly entry: Entry;
  readonly what: Launch;
  readonly command: readonly string[];
}

const BLOCK_BYTES = 512;
/** Words of ulimit(1) in procstat(1)'s. */
const LIMIT_NAMES: Readonly<Record<string, string>> = {
  '-u': 'maxprocesses',
  '-n': 'openfiles',
  '-c': 'coredumpsize',
  '-f': 'filesize',
};

interface Options {
  readonly machine: string | undefined;
  readonly sockets: readonly string[];
  readonly limits: ReadonlyMap<string, number>;
  /** After the dashes. */
  readonly command: readonly string[];
}

const parseOptions = (args: readonly string[]): Options => {
  const limits = new Map<string, number>();
  const sockets: string[] = [];
  let machine: string | undefined;
  let at = 0;
  for (; args[at] !== '--'; at += 2) {
    const value = must(SHELL, args, at + 1, 'value');
    const limit = LIMIT_NAMES[args[at] ?? ''];
    if (limit !== undefined) limits.set(limit, Number(value) * (args[at] === '-f' ? BLOCK_BYTES : 1));
    else if (args[at] === '-m') machine = value;
    else if (args[at] === '-r') sockets.push(value);
    else throw unknownArgv(SHELL, args, `unknown option ${args[at] ?? ''}`);
  }
  return { machine, sockets, limits, command: args.slice(at + 1) };
};

/** `/bin/sh PATH/supervise.sh bhyve NAME DIR EXITS RUN RESETS WINDOW [OPTION VALUE]... -- COMMAND`. */
const parseOrder = (args: readonly string[]): Order => {
  const [script = '', kind, name = '', dir = '', exits = '', run = '', resets, window, ...rest] = args;
  if (!script.endsWith('/supervise.sh') || kind !== 'bhyve')
    throw unknownArgv(SHELL, args, 'only supervise.sh of a bhyve is known');
  const numbers = [resets, window].map((text) => Number(text));
  if (numbers.some((each) => !Number.isInteger(each))) throw unknownArgv(SHELL, args, 'RESETS and WINDOW are numbers');
  const { machine, sockets, limits, command } = parseOptions(rest);
  const { environment, command: program } = parseEnv(command);
  const parsed = parseEntry(program);
  const entry = { ...parsed, environment: program === command ? parsed.environment : environment, limits };
  const [count = 0, seconds = 0] = numbers;
  return {
    ...{ name, machine: machine ?? name, dir, exits, run, resets: count, windowSeconds: seconds, sockets },
    entry,
    what: parseLaunch(entry.command),
    command,
  };
};

/** supervise.sh as the model runs it: bhyve's parent, until the guest has ended for good. */
class Supervisor {
  readonly #world: World;
  readonly #order: Order;
  readonly #process: Process;
  #child: Process | undefined;
  /** Somebody asked it to end: a reset is not followed by another run. */
  #asked = false;
  #count = 0;
  #times: number[] = [];

  constructor(world: World, order: Order, process: Process) {
    this.#world = world;
    this.#order = order;
    this.#process = process;
    process.stat = 'Ss';
    process.onSignal = (number) => this.#handle(number);
    this.#runOnce();
  }

  #handle(number: number): boolean {
    if (number !== TERM) return IGNORED.includes(number);
    this.#asked = true;
    if (this.#child) signal(this.#world, this.#child, number);
    return true;
  }

  #fifo(name: string): FifoNode | undefined {
    const node = find(this.#world, `${this.#order.dir}/${name}`);
    return node?.kind === 'fifo' ? node : undefined;
  }

  #runOnce(): void {
    const { dir, command, entry, what, sockets } = this.#order;
    for (const path of sockets) take(this.#world, path);
    const input = this.#fifo('con.in');
    const output = this.#fifo('con.out');
    const err = newFile(new Uint8Array(), PRIVATE);
    const isReady = put(this.#world, `${dir}/err.in`, newFifo(PRIVATE)) ?? put(this.#world, `${dir}/err`, err);
    if (!input || !output || isReady !== undefined) return this.#finish(71);
    const child = startProcess(this.#world, command.join(' '), this.#process.pid);
    child.stdio = [`${dir}/con.in`, `${dir}/con.out`, `${dir}/err.in`];
    child.onSignal = (number) => IGNORED.includes(number);
    for (const fifo of [input, output]) fifo.holders += 1;
    child.onExit.push((status) => {
      for (const fifo of [input, output]) fifo.holders -= 1;
      this.#child = undefined;
      this.#world.clock.after(REACT_MS, () => whenOn(this.#process, () => this.#ended(status)));
    });
    this.#child = child;
    if (this.#asked) signal(this.#world, child, TERM);
    launch(this.#world, child, entry, what, redirect(input, output, err));
  }

  #ended(status: number): void {
    if (!isAlive(this.#world, this.#process)) return;
    if (!this.#mayRunAgain(status)) return this.#finish(status);
    this.#count += 1;
    this.#world.clock.after(DESTROY_MS, () => {
      if (!isAlive(this.#world, this.#process)) return;
      const vm = this.#world.vms.get(this.#order.machine);
      if (vm) destroyVm(this.#world, vm);
      this.#record(`${this.#order.name}.resets`, this.#count);
      this.#runOnce();
    });
  }

  #mayRunAgain(status: number): boolean {
    const { dir, resets, windowSeconds } = this.#order;
    if (status !== 0 || this.#asked || find(this.#world, `${dir}/stop`)) return false;
    const recent = this.#times.filter((at) => this.#seconds() - at < windowSeconds);
    this.#times = [...recent, this.#seconds()];
    return recent.length < resets;
  }

  #seconds(): number {
    return Math.floor(this.#world.clock.now() / 1000);
  }

  #record(name: string, value: number): void {
    const { exits, run } = this.#order;
    const text = Buffer.from(`${run} ${value} ${this.#seconds()}\n`);
    put(this.#world, `${exits}/${name}`, newFile(text, PRIVATE));
  }

  #finish(status: number): void {
    this.#record(this.#order.name, status);
    endProcess(this.#world, this.#process, 0);
  }
}

const redirect = (input: FifoNode, output: FifoNode, err: FileNode): Stdio => ({
  out: (text) => writeFifo(output, Buffer.from(text)),
  err: (text) => {
    const all = Buffer.concat([err.content, Buffer.from(text)]).subarray(0, ERR_BYTES);
    err.content = all;
    err.bytes = all.length;
  },
  listen: (listener) => readFifo(input, (chunk) => listener(chunk.toString('utf8'))),
});

/** Starts what `spawn` may start: a supervisor, or a TPM. Errors: model.argv. */
export const startDetached = (world: World, program: string, args: readonly string[]): void => {
  if (program === ENV) return startTpm(world, [program, ...args]);
  if (program !== SHELL) throw unknownArgv(program, args, 'only a supervisor is started this way');
  const order = parseOrder(args);
  const script = must(SHELL, args, 0, 'script');
  const process = startProcess(world, [program, ...args].join(' '), 1);
  if (find(world, script)?.kind === 'file') new Supervisor(world, order, process);
  else {
    world.log.push(`sh: cannot open ${script}: No such file or directory`);
    endProcess(world, process, 2);
  }
};
