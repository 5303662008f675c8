import { LIMITS } from '../../base/limits.ts';
import type { StepDef } from '../../base/step.ts';
import { command, run } from '../../platform/command.ts';
import { SWTPM } from '../devices.ts';
import { processesIn } from '../lookup.ts';
import type { Seen } from '../observe.ts';
import { cleanEnvironment } from '../programs/bhyve.ts';
import { jexec } from '../programs/jexec.ts';
import { kill } from '../programs/kill.ts';
import { probeJail, type Process } from '../programs/ps.ts';
import { isSocket } from '../programs/test.ts';

export interface TpmArgs {
  readonly vm: string;
  readonly jail: string;
  readonly uid: number;
  readonly command: readonly string[];
  readonly paths: { readonly state: string; readonly socket: string };
}

const tpmsOf = (jail: string, seen: Seen): Process[] =>
  processesIn(jail, seen).filter((each) => each.command.startsWith(`${SWTPM} `));

/**
 * The VM's TPM: swtpm in the VM's own jail, with its uid; its state stays with the disks.
 * Undo:   after bhyve is gone; ends the process.
 */
export const tpm: StepDef<TpmArgs, Seen> = {
  because: ({ vm }) => `${vm} has a TPM, which bhyve connects to before it is confined`,
  apply: ({ jail, uid, command: swtpm, paths }) => {
    const [program = '', ...args] = [...cleanEnvironment(), ...jexec(jail, swtpm)];
    return [
      { do: 'mkdir', path: paths.state, access: { mode: 0o700, uid, gid: uid } },
      { do: 'remove', path: paths.socket },
      { do: 'spawn', command: command(program, args) },
      {
        do: 'await',
        what: 'swtpm to listen',
        probe: isSocket(paths.socket),
        until: { status: 0 },
        timeoutMs: LIMITS.readyTimeoutMs,
      },
    ];
  },
  undo: ({ jail }, seen) => {
    const pids = tpmsOf(jail, seen).map((each) => each.pid);
    if (pids.length === 0) return [];
    const stage = (name: 'TERM' | 'KILL') => ({
      name: `SIG${name}`,
      effect: run(kill(name, pids)),
      waitMs: LIMITS.stopStageMs,
    });
    return [
      {
        do: 'escalate',
        gone: { probe: probeJail(jail), until: { status: 1 } },
        stages: [stage('TERM'), stage('KILL')],
      },
    ];
  },
  holds: ({ jail }, seen) => (tpmsOf(jail, seen).length > 0 ? 'yes' : 'no'),
  repair: () => ({ restart: 'its TPM ended, and bhyve connects to one only before it is confined' }),
};
