import { done, fail, must, unknownArgv, type Program } from '../program.ts';

/** Linked into GENERIC: there without being loaded. */
const BUILT_IN = ['tmpfs', 'nullfs', 'ufs'];

/** kldstat(8) `-q -m NAME` or `-q -n FILE`: whether the kernel has a module, or loaded a file. */
export const kldstat: Program = (world, args) => {
  if (args[0] !== '-q' || !['-m', '-n'].includes(args[1] ?? ''))
    throw unknownArgv('kldstat', args, 'expected -q -m NAME or -q -n FILE');
  const name = must('kldstat', args, 2, 'name').replace(/\.ko$/, '');
  const isBuiltIn = args[1] === '-m' && BUILT_IN.includes(name);
  return world.modules.has(name) || isBuiltIn ? done() : fail('');
};
