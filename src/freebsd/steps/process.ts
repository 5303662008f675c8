import type { Effect, Stage } from '../../base/host.ts';
import type { StepDef } from '../../base/step.ts';
import { LIMITS } from '../../base/limits.ts';
import { command, run } from '../../platform/command.ts';
import { jailsNamed, processesIn, supervisorOf } from '../lookup.ts';
import type { Seen } from '../observe.ts';
import { cleanEnvironment } from '../programs/bhyve.ts';
import { destroyVm, forcePoweroff, NO_VM } from '../programs/bhyvectl.ts';
import { jexec } from '../programs/jexec.ts';
import { confined, probeJail, type Process } from '../programs/ps.ts';
import { SWTPM, type Bounds } from '../devices.ts';
import { kill } from '../programs/kill.ts';

export interface VmmArgs {
  readonly vm: string;
  /** Its name in vmm(4). */
  readonly machine: string;
  readonly jail: string;
}

/** The VM in vmm(4). bhyve makes it inside the jail; brig only ever destroys it, before the jail goes. */
export const vmm: StepDef<VmmArgs, Seen> = {
  because: ({ vm }) => `bhyve makes ${vm} in vmm(4) with the jail's credential, so it must go before the jail does`,
  apply: () => [],
  undo: ({ machine }) => [
    run(destroyVm(machine), { tolerate: [NO_VM] }),
    // bhyvectl(8) may fail with exit 0; the node tells (FACTS 2).
    { do: 'absent', path: `/dev/vmm/${machine}`, timeoutMs: LIMITS.stopStageMs },
  ],
  // One flat namespace for all: without our jail or run directory a VM of this name is a stranger's.
  holds: ({ vm, machine, jail }, seen) => {
    const isOurs = seen.runDirs.has(vm) || jailsNamed(jail, seen).length > 0;
    if (seen.vmmNodes.has(machine) && isOurs) return 'yes';
    // A bhyve on its way may make it after we looked and before it is ended.
    return bhyveOf(jail, seen) || supervisorOf(vm, seen) ? 'partly' : 'no';
  },
  repair: () => ({ restart: 'its VM in vmm(4) was destroyed under it' }),
};

export interface BhyveArgs {
  readonly vm: string;
  /** Its name in vmm(4). */
  readonly machine: string;
  readonly jail: string;
  /** For people; who runs it is in the command. */
  readonly identity: string;
  /** From inside the jail on. */
  readonly command: readonly string[];
  readonly limits: Pick<Bounds, 'processes' | 'openfiles' | 'fileBytes'>;
  /** Host paths of sockets that an earlier run of the guest left. */
  readonly sockets: readonly string[];
  readonly run: string;
  readonly graceMs: number;
  readonly paths: {
    readonly supervisor: string;
    readonly run: string;
    readonly exits: string;
    readonly exit: string;
    readonly err: string;
    readonly stop: string;
  };
}

const isTpm = ({ command: line }: Process): boolean => line.startsWith(`${SWTPM} `);

/** The bhyve of a jail, among the host's processes. */
export const bhyveOf = (jail: string, seen: Seen): Process | undefined =>
  processesIn(jail, seen).find((each) => !isTpm(each));

/**
 * Everything in the jail, but its TPM as long as a supervisor can tell when bhyve is gone; before anything is there,
 * the supervisor's child on its way.
 */
const processesOf = (vm: string, jail: string, seen: Seen): number[] => {
  const supervisor = supervisorOf(vm, seen)?.pid;
  const inside = processesIn(jail, seen).filter((each) => !(supervisor !== undefined && isTpm(each)));
  const coming = seen.processes.filter((each) => each.ppid === supervisor);
  return (inside.length > 0 ? inside : coming).map((each) => each.pid);
};

/** A broken bhyve cannot grow its disk until the host is full. Units: blocks of 512 bytes. */
const fileBound = ({ fileBytes }: Pick<Bounds, 'fileBytes'>): string[] =>
  fileBytes === undefined ? [] : ['-f', String(Math.ceil(fileBytes / 512))];

const spawn = ({ vm, machine, jail, command: bhyve, limits, sockets, run: id, paths }: BhyveArgs): Effect => {
  // ulimit(1) holds where rctl(8) is off, too; a core would hold the guest's memory.
  const bounds = ['-u', String(limits.processes), '-n', String(limits.openfiles), '-c', '0', ...fileBound(limits)];
  const supervisor = [
    paths.supervisor,
    'bhyve',
    vm,
    paths.run,
    paths.exits,
    id,
    String(LIMITS.resets),
    String(LIMITS.resetWindowSeconds),
    ...bounds,
    ...(machine === vm ? [] : ['-m', machine]),
    ...sockets.flatMap((path) => ['-r', path]),
    '--',
  ];
  return { do: 'spawn', command: command('/bin/sh', [...supervisor, ...cleanEnvironment(), ...jexec(jail, bhyve)]) };
};

/** Polite, firm, final. bhyve takes SIGTERM as the ACPI power button once the guest listens. Source: bhyve(8), FACTS 1.5. */
const stages = (machine: string, pids: readonly number[], supervisor: number | undefined, graceMs: number): Stage[] => {
  const stage = (name: string, effect: Effect, waitMs: number): Stage => ({ name, effect, waitMs });
  const polite = [
    stage('ACPI power button', run(kill('TERM', pids)), graceMs),
    stage('forced power-off', run(forcePoweroff(machine)), LIMITS.stopStageMs),
  ];
  return [
    ...(graceMs === 0 || pids.length === 0 ? [] : polite),
    ...(pids.length === 0 ? [] : [stage('SIGKILL', run(kill('KILL', pids)), LIMITS.stopStageMs)]),
    // It hands the signal to a child that was not there yet when we looked.
    ...(supervisor === undefined
      ? []
      : [
          stage('SIGTERM of the supervisor', run(kill('TERM', [supervisor])), LIMITS.stopStageMs),
          // Somebody stopped it: it has yet to see that its child is gone.
          stage('SIGCONT of the supervisor', run(kill('CONT', [supervisor])), LIMITS.stopStageMs),
        ]),
  ];
};

/**
 * bhyve under its supervisor, ready once it is in capability mode.
 * Undo:   ends the process, then waits until no process of the jail is left.
 * Errors: host.failed with bhyve's own words when it ends before it is ready.
 */
export const bhyve: StepDef<BhyveArgs, Seen> = {
  because: ({ vm, identity }) =>
    `${vm} runs as ${identity}, alone in its jail, and counts as running once Capsicum confines it`,
  apply: (args) => [
    { do: 'remove', path: args.paths.stop },
    spawn(args),
    {
      do: 'await',
      what: `bhyve of ${args.vm} to enter capability mode`,
      probe: probeJail(args.jail),
      until: { matches: confined(args.machine) },
      unless: args.paths.exit,
      quote: args.paths.err,
      timeoutMs: LIMITS.readyTimeoutMs,
    },
  ],
  undo: ({ vm, machine, jail, graceMs, paths }, seen) => {
    const pids = processesOf(vm, jail, seen);
    const supervisor = supervisorOf(vm, seen)?.pid;
    if (pids.length === 0 && supervisor === undefined) return [];
    // Its last word: an empty jail may only mean that jexec(8) is still on its way.
    const ended = { probe: { read: paths.exit }, until: { matches: '^\\S+ \\d+ ' } };
    const empty = { probe: probeJail(jail), until: { status: 1 } };
    return [
      // Whoever cleans /var/run must not make a VM that nobody can stop.
      ...[paths.run, paths.exits].map((path): Effect => ({
        do: 'mkdir',
        path,
        access: { mode: 0o700, uid: 0, gid: 0 },
      })),
      { do: 'write', path: paths.stop, text: '', access: { mode: 0o400, uid: 0, gid: 0 } },
      {
        do: 'escalate',
        gone: supervisor === undefined ? empty : ended,
        stages: stages(machine, pids, supervisor, graceMs),
      },
    ];
  },
  holds: ({ vm, machine, jail }, seen) => {
    const process = bhyveOf(jail, seen);
    const supervisor = supervisorOf(vm, seen);
    if (process?.stat.includes('C') && process.command.startsWith(`bhyve: ${machine} `) && supervisor) return 'yes';
    return process || supervisor ? 'partly' : 'no';
  },
  repair: () => ({
    restart: 'its supervisor was killed: nobody runs it again when the guest resets, and nobody will know how it ends',
  }),
};
