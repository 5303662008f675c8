import { done, lines, unknownArgv, type Program } from '../program.ts';

/** swapctl(8) -l. unrecorded: the widths */
export const swapctl: Program = ({ posture }, args) => {
  if (args.join(' ') !== '-l') throw unknownArgv('swapctl', args, 'expected -l');
  return done(
    lines(['Device:       1024-blocks     Used:', ...posture.swap.map((device) => `${device}    4194304         0`)]),
  );
};
