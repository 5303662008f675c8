import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { Client } from '../../src/api/client.ts';

const root = new URL('../../', import.meta.url).pathname;
const NODE_FLAGS = ['--disable-warning=ExperimentalWarning'];

/** Node's flags of bin/brig or bin/brigd. */
export const flagsOf = (program: 'brig' | 'brigd'): string[] => {
  const command = /^exec "\$node"(?: --[^"]*)+"/m.exec(readFileSync(join(root, 'bin', program), 'utf8'))?.[0] ?? '';
  return [...command.matchAll(/--[a-z-]+(?:=\S+)?/g)].map(([flag]) => flag);
};

/** What starts brig and brigd: this checkout's source, or what tsc built of it; the latter with the flags of bin. */
const PROGRAMS = {
  source: {
    brig: [...flagsOf('brig'), join(root, 'src/cli/main.ts')],
    brigd: [...NODE_FLAGS, join(root, 'src/daemon/main.ts')],
  },
  built: {
    brig: [...flagsOf('brig'), join(root, 'dist/cli/main.js')],
    brigd: [...flagsOf('brigd'), join(root, 'dist/daemon/main.js')],
  },
} as const;

/** FreeBSD, whatever Node's own platform says: devfs(8) is there only. */
export const isFreebsd = existsSync('/sbin/devfs');

/** Numbers that no brigd with its usual configuration uses. */
const SLOT_BASE = 29_000;
export const UNIT_BASE = 7_900;

export interface Ran {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export const run = (program: string, args: readonly string[], input = ''): Ran => {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    input,
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C' },
  });
  return { status: status ?? 127, stdout, stderr: error ? error.message : stderr };
};

/** What a host has that brig could leave behind: a list of lines for each kind. */
export const inventory = (): Record<string, string[]> => {
  const lines = (program: string, args: string[], keep = /./): string[] =>
    run(program, args)
      .stdout.split('\n')
      .filter((line) => keep.test(line))
      .sort();
  const ours = /brig|bhyve|qemu|supervise/;
  const processes = (args: string[]): string[] =>
    lines('/bin/ps', args, ours).filter(
      (line) => !/test\/demo|vitest|start\.mjs|daemon\/main|cli\/main|npm /.test(line),
    );
  return isFreebsd
    ? {
        processes: processes(['-axo', 'command']),
        interfaces: run('/sbin/ifconfig', ['-l']).stdout.trim().split(' ').sort(),
        mounts: lines('/sbin/mount', ['-p']),
        jails: lines('/usr/sbin/jls', ['-d', 'name']),
        rulesets: lines('/sbin/devfs', ['rule', 'showsets']),
        vms: lines('/bin/ls', ['/dev/vmm']),
      }
    : {
        processes: processes(['-eo', 'args']),
        interfaces: lines('/bin/ls', ['/sys/class/net']),
        mounts: lines('/bin/cat', ['/proc/mounts']).map((line) => line.split(' ').slice(0, 3).join(' ')),
        namespaces: lines('/usr/sbin/ip', ['netns', 'list']),
        cgroups: lines('/usr/bin/find', ['/sys/fs/cgroup', '-maxdepth', '3', '-name', 'brig*']),
      };
};

/** Lines of `after` that were not there before, by kind. */
export const leftovers = (before: Record<string, string[]>, after: Record<string, string[]>): string[] =>
  Object.entries(after).flatMap(([kind, lines]) => {
    const known = [...(before[kind] ?? [])];
    return lines.flatMap((line) => {
      const at = known.indexOf(line);
      if (at === -1) return [`${kind}: ${line}`];
      known.splice(at, 1);
      return [];
    });
  });

/** A brigd of one's own, with its files in a directory that goes away. */
export class Stage {
  readonly dir: string;
  readonly socket: string;
  readonly #programs: (typeof PROGRAMS)['source' | 'built'];
  #daemon: ChildProcess | undefined;
  #log = '';

  constructor(name: string, config: Record<string, unknown> = {}, programs: keyof typeof PROGRAMS = 'source') {
    this.#programs = PROGRAMS[programs];
    // Not below /tmp on FreeBSD only by habit: a jail's path may have no symbolic link in it.
    mkdirSync('/var/tmp', { recursive: true });
    this.dir = mkdtempSync(`/var/tmp/brig-${name}-`);
    this.socket = join(this.dir, 'run/brigd.sock');
    const paths = { stateDir: join(this.dir, 'state'), runDir: join(this.dir, 'run') };
    writeFileSync(
      join(this.dir, 'brig.yaml'),
      JSON.stringify({ ...paths, slotBase: SLOT_BASE, unitBase: UNIT_BASE, ...config }),
    );
  }

  /** The API in this process: for looking often. */
  get client(): Client {
    return new Client(this.socket);
  }

  get daemonPid(): number {
    return this.#daemon?.pid ?? 0;
  }

  get isUp(): boolean {
    return this.#daemon !== undefined && this.#daemon.exitCode === null && this.#daemon.signalCode === null;
  }

  get log(): string {
    return this.#log;
  }

  /** Starts brigd and waits until it answers. */
  async up(): Promise<void> {
    const args = [...this.#programs.brigd, '--config', join(this.dir, 'brig.yaml')];
    const daemon = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#daemon = daemon;
    daemon.stderr.setEncoding('utf8').on('data', (text: string) => (this.#log += text));
    await this.until('brigd to answer', () => {
      if (daemon.exitCode !== null) throw new Error(`brigd ended: ${this.#log}`);
      return (
        existsSync(this.socket) &&
        this.client.list().then(
          () => true,
          () => false,
        )
      );
    });
  }

  /** Ends brigd by a signal and waits until it is gone. */
  async down(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const daemon = this.#daemon;
    if (!daemon || !this.isUp) return;
    const gone = new Promise((resolve) => daemon.once('exit', resolve));
    daemon.kill(signal);
    await gone;
  }

  /** Arguments of node(1) that make it brig. */
  get command(): string[] {
    return [...this.#programs.brig, '--socket', this.socket];
  }

  brig(...args: string[]): Ran {
    return run(process.execPath, [...this.command, ...args]);
  }

  /** The same without waiting, for things at once. */
  brigLater(...args: string[]): Promise<Ran> {
    const child = spawn(process.execPath, [...this.command, ...args]);
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    return new Promise((resolve) => child.on('close', (status) => resolve({ status: status ?? 130, stdout, stderr })));
  }

  type(vm: string, text: string): string {
    return run(process.execPath, [...this.command, 'console', vm], text).stdout;
  }

  // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- the caller knows the shape
  json<T>(...args: string[]): T {
    const { stdout, stderr, status } = this.brig(...args, '--json');
    if (status !== 0) throw new Error(`brig ${args.join(' ')}: ${stderr}`);
    return JSON.parse(stdout) as T;
  }

  async until(what: string, holds: () => boolean | Promise<boolean>, timeoutMs = 60_000): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    while (!(await holds())) {
      if (Date.now() > deadline) throw new Error(`waited ${timeoutMs / 1000} s for ${what}\n${this.#log}`);
      await sleep(50);
    }
  }

  /** Stops and destroys every VM, ends brigd, removes the directory. */
  async close(): Promise<void> {
    if (this.#daemon && existsSync(this.socket)) {
      this.brig('stop', '--all', '--timeout', '0s');
      for (const { name } of this.json<{ name: string }[]>('list')) this.brig('destroy', '--force', name);
    }
    await this.down();
    rmSync(this.dir, { recursive: true });
  }
}
