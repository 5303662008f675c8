import type { Stdio } from '../guest.ts';
import { runInside } from '../inside.ts';
import { CHROOT, launch, parseChroot, parseEntry, parseLaunch, refuseEntry } from '../launch.ts';
import { endProcess, startProcess } from '../processes.ts';
import { fail, type Program } from '../program.ts';

/** jexec(8) in the foreground: bhyve with nobody at its console, until it ends or the caller kills it. */
export const jexec: Program = (world, args, stdin) => {
  const entry = parseEntry(args);
  const shell = entry.command[0] === CHROOT ? parseChroot(entry.command.slice(1)) : undefined;
  if (shell?.command.join(' ') === '/bin/sh -s') return runInside(world, entry, shell, stdin);
  const problem = refuseEntry(world, entry);
  if (problem !== undefined) return fail(problem);
  const what = parseLaunch(entry.command);
  const said = { stdout: '', stderr: '' };
  const stdio: Stdio = {
    out: (text) => void (said.stdout += text),
    err: (text) => void (said.stderr += text),
    listen: () => () => undefined,
  };
  const process = startProcess(world, ['/usr/sbin/jexec', ...args].join(' '), 1);
  launch(world, process, entry, what, stdio);
  return {
    wait: (resume) => void process.onExit.push((status) => resume({ status, ...said })),
    abandon: () => {
      process.onExit.length = 0;
      endProcess(world, process, 128 + 9);
    },
    // What it printed until somebody lost patience.
    partial: () => said,
  };
};
