import { signal, SIGNALS } from '../processes.ts';
import { unknownArgv, type Program } from '../program.ts';

/** kill(1) `-TERM PID...`. */
export const kill: Program = (world, args) => {
  const [option = '', ...pids] = args;
  const name = option.replace(/^-(SIG)?/, '');
  const number = SIGNALS[name] ?? Object.values(SIGNALS).find((each) => String(each) === name);
  if (!option.startsWith('-') || number === undefined) throw unknownArgv('kill', args, `unknown signal ${option}`);
  if (pids.length === 0 || pids.some((pid) => !/^\d+$/.test(pid))) throw unknownArgv('kill', args, 'expected pids');
  let stderr = '';
  for (const pid of pids) {
    const process = world.processes.get(Number(pid));
    if (process) signal(world, process, number);
    // unrecorded
    else stderr += `kill: ${pid}: No such process\n`;
  }
  return { status: stderr === '' ? 0 : 1, stdout: '', stderr };
};
