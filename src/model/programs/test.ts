import { find } from '../files.ts';
import { done, fail, must, unknownArgv, type Program } from '../program.ts';

/** test(1) -S: whether a path is a socket. */
export const test: Program = (world, args) => {
  if (args[0] !== '-S' || args.length !== 2) throw unknownArgv('test', args, 'expected -S PATH');
  return find(world, must('test', args, 1, 'path'))?.kind === 'socket' ? done() : fail('');
};
