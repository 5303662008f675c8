import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Host } from '../base/host.ts';
import { pack, readArchive } from './archive.ts';
import { connects } from './connect.ts';
import { openDisk, rename } from './disk.ts';
import { openConsole, say } from './console.ts';
import { run, spawn } from './exec.ts';
import { runAs } from './run-as.ts';
import * as files from './files.ts';

/** The machine that this process runs on. */
export const realHost: Host = {
  run,
  runAs,
  spawn,
  readFile: files.readText,
  list: files.list,
  stat: files.stat,
  readLink: files.readLink,
  writeFile: files.writeText,
  copyFile: files.copy,
  allocate: files.allocate,
  identity: files.identity,
  digest: files.digest,
  head: files.head,
  readArchive,
  pack,
  mkdir: files.makeDirectory,
  remove: files.remove,
  rmdir: files.removeEmpty,
  openDisk,
  rename,
  set: files.set,
  say: (path, text) => Promise.resolve().then(() => say(path, text)),
  console: (inPath, outPath) => Promise.resolve().then(() => openConsole(inPath, outPath)),
  watch: files.watch,
  connects,
  sleep: (ms) => sleep(ms),
  now: () => Date.now(),
  random: (bytes) => randomBytes(bytes),
};
