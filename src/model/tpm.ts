import { normal, put } from './files.ts';
import { findJail } from './jails.ts';
import { parseChroot, parseEntry, parseEnv } from './launch.ts';
import { startProcess } from './processes.ts';
import { must, unknownArgv } from './program.ts';
import type { World } from './world.ts';

const SWTPM = '/usr/local/bin/swtpm';
const START_MS = 10;

/** swtpm in a jail, as its uid: a process and its socket; bhyve connects to it. unrecorded: everything it prints. */
export const startTpm = (world: World, words: readonly string[]): void => {
  const { environment, command } = parseEnv(words);
  const entry = parseEntry(command);
  const identity = parseChroot(entry.command.slice(1));
  if (identity.command[0] !== SWTPM) throw unknownArgv('env', words, 'only swtpm is started this way');
  const server = must(SWTPM, identity.command, identity.command.indexOf('--server') + 1, 'server');
  const socket = /path=(\S+)$/.exec(server)?.[1] ?? '';
  const jail = findJail(world, entry.jail);
  if (!jail) return;
  const process = startProcess(world, identity.command.join(' '), 1);
  const { uid, gid, groups } = identity;
  Object.assign(process, { jid: jail.jid, uid, gid, groups, environment, stat: 'SJ' });
  world.clock.after(START_MS, () => {
    put(world, normal(`${jail.path}${socket}`), { kind: 'socket', mode: 0o600, uid, gid });
  });
};
