import { done, fail, lines, unknownArgv, type Program } from '../program.ts';

/** pfctl(8) -s nat and -s rules of the main ruleset. */
export const pfctl: Program = (world, args) => {
  const { translations, filters } = world.posture;
  if (!world.modules.has('pf')) return fail('pfctl: /dev/pf: No such file or directory');
  if (args.join(' ') === '-s nat') return done(lines(translations));
  if (args.join(' ') === '-s rules') return done(lines(filters));
  throw unknownArgv('pfctl', args, 'expected -s nat or -s rules');
};
