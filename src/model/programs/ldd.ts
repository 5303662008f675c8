import { LINKED } from '../base-system.ts';
import { find } from '../files.ts';
import { done, fail, lines, unknownArgv, type Program } from '../program.ts';

/** ldd(1) `-f '%p\n' PROGRAM...`. unrecorded: its output; the number of libraries is FACTS S.1 */
export const ldd: Program = (world, args) => {
  const programs = args.slice(2);
  if (args[0] !== '-f' || args[1] !== '%p\\n' || programs.length === 0)
    throw unknownArgv('ldd', args, String.raw`expected -f '%p\n' PROGRAM...`);
  const missing = programs.find((program) => !find(world, program));
  if (missing !== undefined) return fail(`ldd: ${missing}: No such file or directory`);
  const unknown = programs.find((program) => !LINKED[program]);
  if (unknown !== undefined) throw unknownArgv('ldd', args, `what ${unknown} is linked with is not in the model`);
  return done(lines(programs.flatMap((program) => LINKED[program] ?? [])));
};
