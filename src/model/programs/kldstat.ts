import { done, fail, must, unknownArgv, type Program } from '../program.ts';

/** Linked into GENERIC: there without being loaded. */
const BUILT_IN = ['tmpfs', 'nullfs', 'ufs'];

/** kldstat(8) `-q -m NAME`: whether the kernel has a module. */
export const kldstat: Program = (world, args) => {
  if (args[0] !== '-q' || args[1] !== '-m') throw unknownArgv('kldstat', args, 'expected -q -m NAME');
  const name = must('kldstat', args, 2, 'name');
  return world.modules.has(name) || BUILT_IN.includes(name) ? done() : fail('');
};
