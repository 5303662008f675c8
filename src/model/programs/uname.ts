import { done, unknownArgv, type Program } from '../program.ts';

/** uname(1). */
export const uname: Program = (world, args) => {
  const letters = args.length === 1 ? /^-([srm]+)$/.exec(args[0] ?? '')?.[1] : undefined;
  if (letters === undefined) throw unknownArgv('uname', args, 'expected -s, -r and -m');
  const words = { s: 'FreeBSD', r: world.sysctls.get('kern.osrelease') ?? '', m: 'amd64' };
  const chosen = (['s', 'r', 'm'] as const).filter((letter) => letters.includes(letter));
  return done(`${chosen.map((letter) => words[letter]).join(' ')}\n`);
};
