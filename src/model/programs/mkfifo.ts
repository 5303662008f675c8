import { find, newFifo, put } from '../files.ts';
import { must, unknownArgv, type Program } from '../program.ts';

/** mkfifo(1) `-m MODE PATH...`. unrecorded: its errors */
export const mkfifo: Program = (world, args) => {
  const mode = must('mkfifo', args, 1, 'mode');
  const paths = args.slice(2);
  if (args[0] !== '-m' || !/^[0-7]{3,4}$/.test(mode) || paths.length === 0)
    throw unknownArgv('mkfifo', args, 'expected -m MODE PATH...');
  let stderr = '';
  for (const path of paths) {
    const fifo = newFifo({ mode: Number.parseInt(mode, 8), uid: 0, gid: 0 });
    const problem = find(world, path) ? 'File exists' : put(world, path, fifo);
    if (problem !== undefined) stderr += `mkfifo: ${path}: ${problem}\n`;
  }
  return { status: stderr === '' ? 0 : 1, stdout: '', stderr };
};
