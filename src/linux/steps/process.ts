import type { Effect, Stage } from '../../base/host.ts';
import type { StepDef } from '../../base/step.ts';
import { LIMITS } from '../../base/limits.ts';
import { command, run } from '../../platform/command.ts';
import type { Seen } from '../observe.ts';
import { killUid, probeRoot, probeUid, signalRoot, type Process } from '../programs/ps.ts';
import { POWER_BUTTON, QEMU, QUIT, RUNNING } from '../programs/qemu.ts';

export interface QemuArgs {
  readonly vm: string;
  readonly uid: number;
  readonly run: string;
  readonly graceMs: number;
  readonly paths: {
    readonly supervisor: string;
    readonly run: string;
    readonly exits: string;
    readonly exit: string;
    readonly resets: string;
    readonly err: string;
    readonly stop: string;
    readonly monitor: string;
  };
  /** cgroups to join. */
  readonly groups: readonly string[];
  /** Files for bwrap: the filter of system calls, every VM's arguments, this VM's. */
  readonly sandbox: readonly [string, string, string];
  readonly command: readonly string[];
}

/** How the command line of a VM's supervisor begins; nothing else of root's begins so. */
const supervisorStart = (supervisor: string, vm: string): string => `/bin/sh ${supervisor} qemu ${vm} `;

export const supervisorOf = (supervisor: string, vm: string, seen: Seen): Process | undefined =>
  seen.processes.find((each) => each.uid === 0 && each.args.startsWith(supervisorStart(supervisor, vm)));

/** QEMU itself: it has this uid, so all that comes before it is done. */
export const qemuOf = (uid: number, seen: Seen): Process | undefined =>
  seen.processes.find((each) => each.uid === uid && each.args.startsWith(`${QEMU} `));

const spawn = ({ vm, run: id, paths, groups, sandbox, command: qemu }: QemuArgs): Effect => {
  const limits = [String(LIMITS.resets), String(LIMITS.resetWindowSeconds)];
  const options = [...groups.flatMap((dir) => ['-g', dir]), ...['-7', sandbox[0], '-8', sandbox[1], '-9', sandbox[2]]];
  return {
    do: 'spawn',
    command: command('/bin/sh', [
      paths.supervisor,
      'qemu',
      vm,
      paths.run,
      paths.exits,
      id,
      ...limits,
      ...options,
      '--',
      ...qemu,
    ]),
  };
};

/**
 * Polite, firm, final. The last stage ends what is not QEMU yet: the supervisor hands the signal to bwrap.
 * Source: QEMU's HMP "system_powerdown", "quit".
 */
const stages = ({ vm, uid, graceMs, paths }: QemuArgs): Stage[] => {
  const say = (text: string): Effect => ({ do: 'say', path: paths.monitor, text });
  return [
    ...(graceMs === 0 ? [] : [{ name: 'ACPI power button', effect: say(POWER_BUTTON), waitMs: graceMs }]),
    ...(graceMs === 0 ? [] : [{ name: 'quit', effect: say(QUIT), waitMs: LIMITS.stopStageMs }]),
    { name: 'SIGKILL', effect: run(killUid(uid)), waitMs: LIMITS.stopStageMs },
    // Somebody may have stopped it: then it has yet to see that its child is gone.
    ...(['TERM', 'CONT'] as const).map((signal) => ({
      name: `SIG${signal} of the supervisor`,
      effect: run(signalRoot(signal, supervisorStart(paths.supervisor, vm))),
      waitMs: LIMITS.stopStageMs,
    })),
  ];
};

/**
 * QEMU under its supervisor, ready once its CPUs run.
 * Undo:   ends the process, then waits until the supervisor has written down how, and nothing runs as the uid.
 * Errors: host.failed with QEMU's own words when it ends before it is ready.
 */
export const qemu: StepDef<QemuArgs, Seen> = {
  because: ({ vm, uid }) => `${vm} runs as uid ${uid}, alone in its sandbox, and counts as running once its CPUs do`,
  apply: (args) => [
    // What an earlier run left behind would be taken for this one's.
    ...[args.paths.stop, args.paths.err, args.paths.exit, args.paths.resets].map((path): Effect => ({
      do: 'remove',
      path,
    })),
    spawn(args),
    {
      do: 'await',
      what: `QEMU of ${args.vm} to run its CPUs`,
      probe: { read: args.paths.err },
      until: { matches: RUNNING },
      unless: args.paths.exit,
      quote: args.paths.err,
      timeoutMs: LIMITS.readyTimeoutMs,
    },
  ],
  undo: (args, seen) => {
    const { vm, uid, paths } = args;
    if (!supervisorOf(paths.supervisor, vm, seen) && !qemuOf(uid, seen)) return [];
    // The supervisor's last word, where there is one: a file is cheaper to look at than all processes.
    // Of whatever run: the start removed the file of the run before, and a start may take back an older run.
    const supervisorGone = supervisorOf(paths.supervisor, vm, seen)
      ? { probe: { read: paths.exit }, until: { matches: '^\\S+ \\d+ \\d+$' } }
      : { probe: probeRoot(supervisorStart(paths.supervisor, vm)), until: { status: 1 } };
    const uidGone = { probe: probeUid(uid), until: { status: 1 } };
    return [
      // Whoever cleans /run must not make a VM that nobody can stop.
      ...[paths.run, paths.exits].map((path): Effect => ({
        do: 'mkdir',
        path,
        access: { mode: 0o700, uid: 0, gid: 0 },
      })),
      { do: 'write', path: paths.stop, text: '', access: { mode: 0o400, uid: 0, gid: 0 } },
      { do: 'escalate', gone: supervisorGone, stages: stages(args) },
      // Only a supervisor that was killed leaves anything for this.
      {
        do: 'escalate',
        gone: uidGone,
        stages: [{ name: 'SIGKILL', effect: run(killUid(uid)), waitMs: LIMITS.stopStageMs }],
      },
    ];
  },
  holds: ({ vm, uid, paths }, seen) => {
    // Between two runs of a guest that resets there is no QEMU: a second supervisor must not be started then.
    if (supervisorOf(paths.supervisor, vm, seen)) return 'yes';
    return qemuOf(uid, seen) ? 'partly' : 'no';
  },
  repair: () => ({
    restart: 'its supervisor was killed: nobody runs it again when the guest resets, and nobody will know how it ends',
  }),
};
