import { INSIDE_FILE, INSIDE_SCRIPT } from '../platform/inside.ts';
import { find, findDirectory, newFile, normal, openIn, put, WRITE } from './files.ts';
import { refuseEntry, type ChrootArguments, type Entry } from './launch.ts';
import { findJail } from './jails.ts';
import { done, fail, lines, unknownArgv, type Answer } from './program.ts';
import type { Jail, World } from './world.ts';

const DEEPEST = 6;

/** Paths of everything below a directory, as the jail sees it. */
const below = (world: World, jail: Jail, path: string, depth: number): string[] => {
  const node = find(world, normal(`${jail.path}${path}`), jail.jid);
  if (depth === 0 || node?.kind !== 'directory') return [];
  return [...node.entries.keys()].sort().flatMap((name) => {
    const each = `${path === '/' ? '' : path}/${name}`;
    return [each, ...below(world, jail, each, depth - 1)];
  });
};

const isWritable = (world: World, jail: Jail, who: ChrootArguments, path: string): boolean => {
  const node = openIn(world, jail, path, who, WRITE);
  if (typeof node === 'string' || node.kind !== 'directory') return false;
  const file = newFile(new Uint8Array(), { mode: 0o600, uid: who.uid, gid: who.gid });
  return put(world, normal(`${jail.path}${path}/${INSIDE_FILE}`), file) === undefined;
};

const ended = (path: string): string => (path === '/' ? path : `${path}/`);

/** sh(1) in a jail, with the one script that an audit sends. */
export const runInside = (world: World, entry: Entry, who: ChrootArguments, script: string): Answer => {
  const problem = refuseEntry(world, entry);
  const jail = findJail(world, entry.jail);
  if (problem !== undefined || !jail) return fail(problem ?? '');
  if (script !== INSIDE_SCRIPT) throw unknownArgv('/bin/sh', entry.command, 'another script is unknown');
  const seen = below(world, jail, '/dev', DEEPEST);
  const directories = ['/', ...below(world, jail, '/', 3)].filter((path) =>
    findDirectory(world, normal(`${jail.path}${path}`)),
  );
  const writable = directories.filter((path) => isWritable(world, jail, who, path));
  return done(lines([...seen.map((path) => `sees ${path}`), ...writable.map((path) => `writes ${ended(path)}`)]));
};
