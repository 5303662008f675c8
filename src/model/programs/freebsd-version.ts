import { done, lines, unknownArgv, type Program } from '../program.ts';

/** freebsd-version(1): kernel on disk, running kernel, userland, in this order. */
export const freebsdVersion: Program = ({ posture: { release } }, args) => {
  const flags = args.flatMap((word) => word.replace(/^-/, '').split(''));
  if (flags.some((flag) => !'kru'.includes(flag))) throw unknownArgv('freebsd-version', args, 'expected -k, -r or -u');
  return done(lines((flags.length === 0 ? ['u'] : flags).map(() => release)));
};
