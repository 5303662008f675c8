import { GROUPS } from '../../../src/model/base-system.ts';
import type { FileStat, Result } from '../../../src/base/host.ts';
import { lines, type Scene } from './scene.ts';

const KINDS: Readonly<Record<FileStat['kind'], string>> = {
  file: '-',
  directory: 'd',
  fifo: 'p',
  device: 'c',
  socket: 's',
  other: '?',
};

const modeText = ({ kind, mode }: FileStat): string => {
  const bits = [6, 3, 0].map((shift) => {
    const three = (mode >> shift) & 7;
    return `${three & 4 ? 'r' : '-'}${three & 2 ? 'w' : '-'}${three & 1 ? 'x' : '-'}`;
  });
  return `${KINDS[kind]}${bits.join('')}`;
};

/** One line of `ls -l`; number, size and date are what the comparison does not look at. */
const longLine = async (scene: Scene, path: string, name: string): Promise<string> => {
  const stat = await scene.model.host.stat(path);
  if (!stat) throw new Error(`${path} is listed but not there`);
  const who = await scene.sh(`getent passwd ${stat.uid}`);
  const user = who.stdout.split(':')[0] || String(stat.uid);
  return `${modeText(stat)} 1 ${user} ${GROUPS.get(stat.gid) ?? String(stat.gid)} 0x1 Nov 23 01:30 ${name}`;
};

const listDirectory = async (scene: Scene, path: string, long: boolean): Promise<string[]> => {
  const names = (await scene.model.host.list(path)) ?? [];
  if (!long) return names;
  const rows = await Promise.all(names.map((name) => longLine(scene, `${path}/${name}`, name)));
  return ['total 0', ...rows];
};

/** ls(1) over the model's files: how the recordings show what a devfs lets through. */
export const ls = async (scene: Scene, args: readonly string[]): Promise<Result> => {
  const long = args[0] === '-l';
  const paths = [...(long ? args.slice(1) : args)].sort();
  const errors: string[] = [];
  const files: string[] = [];
  const blocks: string[][] = [];
  for (const path of paths) {
    const stat = await scene.model.host.stat(path);
    if (!stat) errors.push(`ls: ${path}: No such file or directory`);
    else if (stat.kind !== 'directory') files.push(long ? await longLine(scene, path, path) : path);
    else {
      const body = await listDirectory(scene, path, long);
      blocks.push(paths.length > 1 ? [`${path}:`, ...body] : body);
    }
  }
  const stdout = [lines(files), ...blocks.map(lines)].filter(Boolean).join('\n');
  return { status: errors.length > 0 ? 1 : 0, stdout, stderr: lines(errors), timedOut: false };
};
