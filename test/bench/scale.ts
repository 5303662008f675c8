import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { join } from 'node:path';
import { Client } from '../../src/api/client.ts';
import { layout } from '../../src/platform/layout.ts';
import type { World } from '../sim/world.ts';
import { flagsOf } from '../demo/stage.ts';
import { crowd } from '../sim/crowd.ts';
import { serveHost } from './far.ts';
import { median } from './script.ts';

const HERE = new URL('.', import.meta.url).pathname;
const DIST = new URL('../../dist/', import.meta.url).pathname;
/** brigd is measured as it runs. */
const FLAGS = flagsOf('brigd');
const LISTS = 41;
const PASSES = 8;
/** A user that every host has. */
const TENANT = 'games';

const answerOf = (child: ChildProcess): Promise<unknown> =>
  new Promise((resolve, reject) => {
    const ended = (): void => reject(new Error('the process ended'));
    child.once('exit', ended);
    child.once('message', (message) => {
      child.off('exit', ended);
      resolve(message);
    });
  });

/** A brigd of its own process on a model of this one. */
class Node {
  readonly client: Client;
  readonly #dir = mkdtempSync('/var/tmp/brig-scale-');
  #world!: World;
  #child!: ChildProcess;
  #clock!: NodeJS.Timeout;
  #close!: () => void;

  constructor() {
    this.client = new Client(join(this.#dir, 'run/brigd.sock'));
  }

  /** Answers how many processes it took. */
  async up(vms: number, running: number): Promise<number> {
    const paths = { stateDir: join(this.#dir, 'state'), runDir: join(this.#dir, 'run') };
    this.#world = await crowd({ vms, running, paths, owner: TENANT });
    chmodSync(this.#dir, 0o711);
    const before = this.commands;
    mkdirSync(paths.stateDir);
    copyFileSync(join(this.#world.dir, 'brig.db'), layout(paths).store);
    this.#fifos(vms);
    for (const name of ['far', 'node', 'lists']) this.#build(name);
    this.#close = await serveHost(this.#world.model.host, join(this.#dir, 'host.sock'));
    this.#clock = setInterval(() => void this.#world.model.clock.advance(10), 10);
    const { dataset } = this.#world.config;
    const args = [join(this.#dir, 'host.sock'), join(this.#dir, 'fifos'), JSON.stringify({ ...paths, dataset })];
    this.#child = spawn(process.execPath, [...FLAGS, join(this.#dir, 'node.mjs'), ...args], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    await answerOf(this.#child);
    return this.commands - before;
  }

  /** As JavaScript, next to what tsc built: stripping types would cost memory that brigd does not need. */
  #build(name: string): void {
    const text = stripTypeScriptTypes(readFileSync(join(HERE, `${name}.ts`), 'utf8'))
      .replaceAll(/'\.\.\/\.\.\/src\/(.*)\.ts'/g, `'${DIST}$1.js'`)
      .replaceAll('./far.ts', './far.mjs');
    writeFileSync(join(this.#dir, `${name}.mjs`), text);
  }

  #fifos(vms: number): void {
    const dir = join(this.#dir, 'fifos');
    mkdirSync(dir);
    const paths = Array.from({ length: vms }, (_, i) => join(dir, `v${i}`));
    for (let from = 0; from < vms; from += 1000) spawnSync('/usr/bin/mkfifo', paths.slice(from, from + 1000));
  }

  get commands(): number {
    return this.#world.model.commands;
  }

  /** Units: milliseconds. */
  async pass(): Promise<number> {
    const answer = answerOf(this.#child);
    this.#child.send('pass');
    return Number(await answer);
  }

  /** Each list through the API, parsed, by a client of its own process. Units: milliseconds. */
  async lists(vms: number): Promise<number[]> {
    const args = [join(this.#dir, 'lists.mjs'), join(this.#dir, 'run/brigd.sock'), String(LISTS), String(vms)];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    return (await answerOf(child)) as number[];
  }

  /** The same by somebody of this host who owns ten of them. Units: milliseconds. */
  async tenantLists(): Promise<number[]> {
    const [, , uid = '', gid = ''] = spawnSync('/usr/bin/getent', ['passwd', TENANT], {
      encoding: 'utf8',
    }).stdout.split(':');
    const socket = join(this.#dir, 'run/users', `${uid}.sock`);
    const child = spawn(process.execPath, [join(this.#dir, 'lists.mjs'), socket, String(LISTS), '10'], {
      ...{ uid: Number(uid), gid: Number(gid), stdio: ['ignore', 'inherit', 'inherit', 'ipc'] },
    });
    return (await answerOf(child)) as number[];
  }

  get residentMiB(): number {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${this.#child.pid}/status`, 'utf8'))?.[1]) / 1024;
  }

  async down(): Promise<void> {
    clearInterval(this.#clock);
    const gone = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.send('close');
    await gone;
    this.#close();
    this.#world.close();
    rmSync(this.#dir, { recursive: true });
  }
}

export interface ScaleFigures {
  /** A list of somebody who owns ten of them. */
  readonly tenantMs: number;
  readonly listMs: number;
  readonly passMs: number;
  /** Most processes of one pass. */
  readonly processes: number;
  /** Processes from the start of brigd until it answers: those of its own preparation included. */
  readonly adoption: number;
  readonly residentMiB: number;
}

/** What that many running VMs cost brigd. */
export const scale = async (vms: number): Promise<ScaleFigures> => {
  const node = new Node();
  try {
    const adoption = await node.up(vms, vms);
    const lists = await node.lists(vms);
    const tenant = await node.tenantLists();
    const [passes, processes]: [number[], number[]] = [[], []];
    for (let i = 0; i < PASSES; i++) {
      const before = node.commands;
      passes.push(await node.pass());
      processes.push(node.commands - before);
    }
    const { residentMiB } = node;
    // brigd's own loop may look at the same time; what a pass costs is what most of them cost.
    return {
      listMs: median(lists),
      tenantMs: median(tenant),
      passMs: median(passes),
      processes: median(processes),
      adoption,
      residentMiB,
    };
  } finally {
    await node.down();
  }
};

export interface RushFigures {
  readonly seconds: number;
  /** Resident memory before, and the most while they wait and work. */
  readonly restMiB: number;
  readonly mostMiB: number;
  /** How far a start ended from its place in the queue, at most: those that go on at once end in any order. */
  readonly displaced: number;
  readonly failed: number;
}

/** That many operators who start a VM each, all at once. */
export const rush = async (vms: number): Promise<RushFigures> => {
  const node = new Node();
  try {
    await node.up(vms, 1);
    const restMiB = node.residentMiB;
    let mostMiB = restMiB;
    const watch = setInterval(() => (mostMiB = Math.max(mostMiB, node.residentMiB)), 100);
    const ended: number[] = [];
    const startMs = performance.now();
    const starts = await Promise.allSettled(
      Array.from({ length: vms - 1 }, (_, i) =>
        node.client.operate('start', `v${i + 1}`).then(() => void ended.push(i)),
      ),
    );
    const seconds = (performance.now() - startMs) / 1000;
    clearInterval(watch);
    const failed = starts.filter(({ status }) => status === 'rejected');
    for (const each of failed.slice(0, 3)) console.error(each);
    const displaced = Math.max(...ended.map((asked, i) => Math.abs(asked - i)));
    return { seconds, restMiB, mostMiB, displaced, failed: failed.length };
  } finally {
    await node.down();
  }
};
