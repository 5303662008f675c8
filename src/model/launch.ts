import { startBhyve, type BhyveArguments } from './bhyve.ts';
import { find, normal } from './files.ts';
import type { Stdio } from './guest.ts';
import { findJail } from './jails.ts';
import { endProcess, isAlive } from './processes.ts';
import { must, unknownArgv } from './program.ts';
import type { Jail, Process, World } from './world.ts';

const JEXEC = '/usr/sbin/jexec';
export const CHROOT = '/usr/sbin/chroot';
const BHYVE = '/usr/sbin/bhyve';
const STEP_MS = 5;

/** `jexec [-l] JAIL COMMAND...`. */
export interface Entry {
  readonly jail: string;
  readonly command: readonly string[];
  readonly environment: readonly string[];
  readonly limits: ReadonlyMap<string, number>;
}

/** `env -i NAME=VALUE... COMMAND...`; without env(1) the caller's environment, of which the model knows nothing. */
export const parseEnv = (words: readonly string[]): { environment: readonly string[]; command: readonly string[] } => {
  if (words[0] !== '/usr/bin/env') return { environment: [], command: words };
  if (words[1] !== '-i') throw unknownArgv('env', words, 'expected -i');
  const at = words.findIndex((word, i) => i > 1 && !word.includes('='));
  return { environment: words.slice(2, at), command: words.slice(at) };
};

/** What -l leaves: the login class of root. Recorded in numeric-uid.txt. */
const LOGIN_ENVIRONMENT = [
  'SHELL=/bin/sh',
  'HOME=/root',
  'USER=root',
  'BLOCKSIZE=K',
  'MAIL=/var/mail/root',
  'MM_CHARSET=UTF-8',
  'LANG=C.UTF-8',
  'PATH=/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/root/bin',
  'TERM=su',
];

export interface ChrootArguments {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
  readonly command: readonly string[];
}

/** What is to run in the jail. */
export interface Launch {
  readonly chroot: ChrootArguments | undefined;
  readonly bhyve: BhyveArguments;
}

export const parseEntry = (words: readonly string[]): Entry => {
  const args = words[0] === JEXEC ? words.slice(1) : words;
  const isLogin = args[0] === '-l';
  const rest = isLogin ? args.slice(1) : args;
  const jail = must(JEXEC, rest, 0, 'jail');
  must(JEXEC, rest, 1, 'command');
  if (jail.startsWith('-')) throw unknownArgv(JEXEC, args, `unknown option ${jail}`);
  return { jail, command: rest.slice(1), environment: isLogin ? LOGIN_ENVIRONMENT : [], limits: new Map() };
};

const number = (args: readonly string[], text: string): number => {
  if (!/^\d+$/.test(text)) throw unknownArgv(CHROOT, args, `${text} is not a number`);
  return Number(text);
};

/** Without -G a process keeps root's groups wheel and operator (FACTS S.2). */
export const parseChroot = (args: readonly string[]): ChrootArguments => {
  let identity = { uid: 0, gid: 0, groups: [0, 5] as readonly number[] };
  let at = 0;
  for (; args[at]?.startsWith('-'); at += 2) {
    const value = must(CHROOT, args, at + 1, 'value');
    if (args[at] === '-u') identity = { ...identity, uid: number(args, value) };
    else if (args[at] === '-g') identity = { ...identity, gid: number(args, value) };
    else if (args[at] === '-G') identity = { ...identity, groups: value.split(',').map((each) => number(args, each)) };
    else throw unknownArgv(CHROOT, args, `unknown option ${args[at] ?? ''}`);
  }
  if (must(CHROOT, args, at, 'new root') !== '/') throw unknownArgv(CHROOT, args, 'another root than / is unknown');
  return { ...identity, command: args.slice(at + 1) };
};

const parseBhyve = (args: readonly string[]): BhyveArguments => {
  const options: string[] = [];
  let config: string | undefined;
  let rom: string[] = [];
  let at = 0;
  for (; args[at]?.startsWith('-'); at += 2) {
    const value = must(BHYVE, args, at + 1, 'value');
    if (args[at] === '-k' && config === undefined) config = value;
    else if (args[at] === '-o') options.push(value);
    else if (args[at] === '-l' && value.startsWith('bootrom,')) rom = value.split(',').slice(1);
    else throw unknownArgv(BHYVE, args, `unknown option ${args[at] ?? ''}`);
  }
  if (args.length > at + 1) throw unknownArgv(BHYVE, args, 'more than one name');
  return { config, options, rom, name: args[at] };
};

/** Errors: model.argv for anything but bhyve, directly or by chroot(8). */
export const parseLaunch = (command: readonly string[]): Launch => {
  const chroot = command[0] === CHROOT ? parseChroot(command.slice(1)) : undefined;
  const [program, ...args] = chroot?.command ?? command;
  if (program !== BHYVE) throw unknownArgv(JEXEC, command, 'only bhyve is known inside a jail');
  return { chroot, bhyve: parseBhyve(args) };
};

const isInJail = (world: World, jail: Jail, path: string): boolean =>
  find(world, normal(`${jail.path}/${path}`), jail.jid)?.kind === 'file';

/** What jexec(8) complains about before there is a process in the jail. */
export const refuseEntry = (world: World, { jail: name, command }: Entry): string | undefined => {
  const jail = findJail(world, name);
  if (!jail) return `jexec: jail "${name}" not found`;
  const program = command[0] ?? '';
  return isInJail(world, jail, program) ? undefined : `jexec: execvp: ${program}: No such file or directory`;
};

/** One process becomes jexec, chroot and bhyve in turn; its pid stays. */
export const launch = (world: World, process: Process, entry: Entry, what: Launch, stdio: Stdio): void => {
  const endWith = (message: string): void => {
    stdio.err(`${message}\n`);
    endProcess(world, process, 1);
  };
  world.clock.after(STEP_MS, () => {
    if (!isAlive(world, process)) return;
    const problem = refuseEntry(world, entry);
    const jail = findJail(world, entry.jail);
    if (problem !== undefined || !jail) return endWith(problem ?? '');
    enter(jail, process, what, entry);
    // unrecorded: chroot(8) without the program it is to run
    if (!isInJail(world, jail, BHYVE)) return endWith(`chroot: ${BHYVE}: No such file or directory`);
    world.clock.after(STEP_MS, () => {
      if (isAlive(world, process)) startBhyve(world, jail, process, what.bhyve, stdio);
    });
  });
};

const enter = (jail: Jail, process: Process, { chroot }: Launch, entry: Entry): void => {
  const { command, environment, limits } = entry;
  process.environment = environment;
  process.limits = limits;
  process.jid = jail.jid;
  process.stat = 'SJ';
  process.command = (chroot?.command ?? command).join(' ');
  process.uid = chroot?.uid ?? 0;
  process.gid = chroot?.gid ?? 0;
  process.groups = chroot?.groups ?? [0, 5];
};
