import { find, findDirectory, newFile, parentOf, put } from '../files.ts';
import { done, fail, unknownArgv, type Program } from '../program.ts';

const USAGE = ['-t', 'cd9660', '-o', '-T'];

/**
 * makefs(8) `-t cd9660 -o OPTIONS -T TIME IMAGE DIRECTORY`. The image is a text of what is in it: label, time, and each
 * file's bytes. unrecorded: its errors
 */
export const makefs: Program = (world, args) => {
  const [t, type, o, options = '', stamp, time = '', image = '', directory = '', ...more] = args;
  const isKnown = [t, type, o, stamp].every((word, i) => word === USAGE[i]) && more.length === 0 && directory !== '';
  const label = /^rockridge,label=([A-Z0-9_]{1,32})$/.exec(options)?.[1];
  if (!isKnown || label === undefined || !/^\d+$/.test(time))
    throw unknownArgv('makefs', args, 'expected -t cd9660 -o rockridge,label=LABEL -T SECONDS IMAGE DIRECTORY');
  const from = findDirectory(world, directory);
  if (!from) return fail(`makefs: Can't stat \`${directory}': No such file or directory`);
  const files = Object.fromEntries(
    [...from.entries].flatMap(([name, node]) =>
      node.kind === 'file' ? [[name, Buffer.from(node.content).toString('base64')] as const] : [],
    ),
  );
  const content = Buffer.from(JSON.stringify({ label, time: Number(time), files }));
  const problem = find(world, parentOf(image))
    ? put(world, image, newFile(content, { mode: 0o644, uid: 0, gid: 0 }))
    : 'No such file or directory';
  return problem === undefined ? done() : fail(`makefs: Can't open \`${image}' for writing: ${problem}`);
};
