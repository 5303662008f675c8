import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BrigError } from '../../src/base/errors.ts';
import { LIMITS } from '../../src/base/limits.ts';
import type { VmView } from '../../src/engine/view.ts';
import { inventory, leftovers, run, Stage } from '../demo/stage.ts';
import { chance } from './chance.ts';
import { timeToNotice } from './notice.ts';

export interface SoakOptions {
  readonly vms: number;
  readonly seconds: number;
  readonly seed: number;
}

/** What happened. Units: milliseconds. */
export interface SoakReport {
  readonly actions: ReadonlyMap<string, number>;
  /** Requests that were refused, by code. */
  readonly refused: ReadonlyMap<string, number>;
  /** From a kill to the event that tells of it, each. */
  readonly noticedMs: readonly number[];
  readonly convergedMs: number;
}

const STATE_BYTES = 48 * 2 ** 20;
const OPERATORS = 4;
const KILLS = 10;
const CONVERGE_MS = 90_000;
const PASSES = 2.5;
const POLICIES = ['always', 'on-failure', 'never'] as const;
/** States in which a VM may be left alone for ever. */
const RESTING = ['running', 'defined', 'failed'];

type Pick = (below: number) => number;

/** Real VMs, operators who want everything at once, and a host on which everything goes wrong. */
export class Soak {
  readonly #o: SoakOptions;
  readonly #stage = new Stage('soak', { accel: 'tcg' });
  readonly #names: readonly string[];
  readonly #actions = new Map<string, number>();
  readonly #refused = new Map<string, number>();
  readonly #noticedMs: number[] = [];
  readonly #began = performance.now();
  /** What was done, for whoever looks at a failure. */
  readonly lines: string[] = [];
  /** The one who ends brigd, or fills the disk. */
  #busy: string | undefined;
  #isUp = false;
  #deadline = Infinity;

  constructor(options: SoakOptions) {
    this.#o = options;
    this.#names = Array.from({ length: options.vms }, (_, i) => `soak${i}`);
  }

  get #state(): string {
    return join(this.#stage.dir, 'state');
  }

  get #fill(): string {
    return join(this.#state, 'fill');
  }

  /** Errors: whatever brig did wrong, with what happened before. */
  async run(): Promise<SoakReport> {
    const before = inventory();
    mkdirSync(this.#state, { mode: 0o711 });
    this.#must('/usr/bin/mount', '-t', 'tmpfs', '-o', `size=${STATE_BYTES},mode=711`, 'brig-soak', this.#state);
    try {
      await this.#up();
      await this.#create();
      for (let i = 0; i < KILLS; i++)
        this.#noticedMs.push(await timeToNotice(this.#stage.client, this.#names[0] ?? ''));
      this.#deadline = performance.now() + this.#o.seconds * 1000;
      await Promise.all(Array.from({ length: OPERATORS }, (_, i) => this.#operator(this.#o.seed * 31 + i)));
      const convergedMs = await this.#converge();
      await this.#leave();
      return { actions: this.#actions, refused: this.#refused, noticedMs: this.#noticedMs, convergedMs };
    } finally {
      this.#isUp = false;
      rmSync(this.#fill, { force: true });
      if (this.#stage.isUp) await this.#stage.down('SIGKILL');
      run('/usr/bin/umount', [this.#state]);
      rmSync(this.#stage.dir, { recursive: true });
      const left = leftovers(before, inventory());
      if (left.length > 0) this.#fail(`left on the host: ${left.join('; ')}`);
    }
  }

  #fail(what: string): never {
    throw new Error(`${what}\n${this.lines.slice(-200).join('\n')}\n${this.#stage.log.slice(-4000)}`);
  }

  #say(action: string, what: string): void {
    this.#actions.set(action, (this.#actions.get(action) ?? 0) + 1);
    const at = ((performance.now() - this.#began) / 1000).toFixed(3).padStart(8);
    this.lines.push(`${at} ${action} ${what}`);
  }

  #must(program: string, ...args: string[]): void {
    const { status, stderr } = run(program, args);
    if (status !== 0) this.#fail(`${program} ${args.join(' ')}: ${stderr}`);
  }

  async #up(): Promise<void> {
    await this.#stage.up();
    this.#isUp = true;
  }

  async #create(): Promise<void> {
    for (const [i, name] of this.#names.entries())
      await this.#stage.client.create({
        name,
        memory: '32M',
        firmware: { builtin: 'test' },
        nics: i % 2 === 0 ? [{}] : [],
        disks: i % 5 === 0 ? [{ file: { size: '1M' } }] : [],
        restart: { policy: POLICIES[i % 3], max: 50 },
      });
  }

  /** Ctrl-C: no more of it, and everything is taken back. */
  stop(): void {
    this.#deadline = 0;
  }

  async #operator(seed: number): Promise<void> {
    const pick = chance(seed);
    while (performance.now() < this.#deadline) {
      if (this.#isUp && !this.#stage.isUp) this.#fail('brigd ended by itself');
      const name = this.#names[pick(this.#names.length)] ?? '';
      await this.#act(name, pick);
      await sleep(pick(300));
    }
  }

  async #act(name: string, pick: Pick): Promise<void> {
    const kind = pick(20);
    if (kind < 6) return await this.#ask('start', name);
    if (kind < 8) return await this.#ask('stop', name, [0, 500, 2_000][pick(3)]);
    if (kind < 10) return await this.#ask('restart', name, 300);
    if (kind < 13) return await this.#killVm(name);
    if (kind === 13) return this.#killSupervisor(name);
    if (kind < 17) return await this.#hands(name, pick);
    if (kind === 17) return await this.#alone('fill', () => this.#fillDisk(500 + pick(2_000)));
    return await this.#alone('brigd', () => this.#restart(pick(3) === 0 ? 'SIGTERM' : 'SIGKILL'));
  }

  /** A refusal is no fault of brig's, as long as it says why. */
  async #ask(verb: 'start' | 'stop' | 'restart', name: string, graceMs?: number): Promise<void> {
    this.#say(verb, name);
    try {
      await this.#stage.client.operate(verb, name, {}, graceMs);
    } catch (error) {
      if (!(error instanceof BrigError) || error.message.includes('bug:'))
        this.#fail(`${verb} ${name}: refused without a reason: ${String(error)}`);
      this.#refused.set(error.code, (this.#refused.get(error.code) ?? 0) + 1);
      this.lines.push(`         ${verb} ${name}: ${error.message}`);
    }
  }

  async #view(name: string): Promise<VmView | undefined> {
    return await this.#stage.client.show(name).catch(() => undefined);
  }

  async #killVm(name: string): Promise<void> {
    const pid = (await this.#view(name))?.pid;
    if (pid === undefined) return;
    this.#say('kill QEMU of', `${name}, ${pid}`);
    spawnSync('/usr/bin/kill', ['-9', String(pid)]);
  }

  #killSupervisor(name: string): void {
    this.#say('kill supervisor of', name);
    spawnSync('/usr/bin/pkill', ['-9', '-f', `${this.#stage.dir}/run/supervise.sh qemu ${name} `]);
  }

  async #hands(name: string, pick: Pick): Promise<void> {
    const unit = (await this.#view(name))?.nics[0]?.unit;
    if (unit === undefined) return;
    const end = `brigv${unit}`;
    const commands = [
      ['link', 'del', end],
      ['link', 'set', end, 'nomaster'],
      ['link', 'set', end, 'down'],
      ['-n', `brig-${name}`, 'link', 'del', `tap${unit}`],
      ['link', 'set', end, 'name', `mine${unit}`],
    ];
    const command = commands[pick(commands.length)] ?? [];
    this.#say('ip', command.join(' '));
    spawnSync('/usr/sbin/ip', command);
  }

  /** One at a time. */
  async #alone(what: string, work: () => Promise<void>): Promise<void> {
    if (this.#busy !== undefined) return;
    this.#busy = what;
    try {
      await work();
    } finally {
      this.#busy = undefined;
    }
  }

  async #fillDisk(forMs: number): Promise<void> {
    this.#say('fill the disk', `${forMs} ms`);
    try {
      writeFileSync(this.#fill, Buffer.alloc(STATE_BYTES));
    } catch {
      // As full as it gets.
    }
    await sleep(forMs);
    rmSync(this.#fill, { force: true });
  }

  async #restart(signal: NodeJS.Signals): Promise<void> {
    this.#say('end brigd by', signal);
    this.#isUp = false;
    await this.#stage.down(signal);
    await this.#up();
  }

  /** Nothing goes wrong any more: what is told becomes what is there, and what was asked for. Units: milliseconds. */
  async #converge(): Promise<number> {
    const startMs = performance.now();
    if (!this.#stage.isUp) await this.#up();
    let wrong = await this.#wrong();
    for (; wrong.length > 0 && performance.now() - startMs < CONVERGE_MS; wrong = await this.#wrong()) {
      for (const { name, state } of await this.#stage.client.list())
        if (state === 'stuck') await this.#ask('stop', name, 0);
      await sleep(250);
    }
    const tookMs = performance.now() - startMs;
    if (wrong.length === 0) {
      // What is told stays true when brigd has looked at everything again.
      await sleep(PASSES * LIMITS.reconcileEveryMs);
      wrong = await this.#wrong();
    }
    if (wrong.length > 0) this.#fail(`does not converge: ${wrong.join('; ')}`);
    return tookMs;
  }

  async #wrong(): Promise<string[]> {
    const views = await this.#stage.client.list();
    const findings = await this.#stage.client.findings();
    const processes = run('/bin/ps', ['-eo', 'uid=,comm=']).stdout.split('\n');
    return [
      ...views.flatMap(({ name, state, reason, uid }) => {
        const guests = processes.filter((line) => line.includes('qemu') && Number(line.trim().split(' ')[0]) === uid);
        const expected = state === 'running' ? 1 : 0;
        if (guests.length !== expected) return [`${name} is told to be ${state}, and has ${guests.length} processes`];
        return RESTING.includes(state) && (state !== 'failed' || reason) ? [] : [`${name} is ${state}: ${reason}`];
      }),
      ...findings.map(({ vm, because, reason }) => `${vm}: ${because}: ${reason}`),
    ];
  }

  /** Whatever happened, every VM starts again; and nothing of any is left. */
  async #leave(): Promise<void> {
    const { client, dir } = this.#stage;
    for (const name of this.#names) {
      await client.operate('start', name);
      const { state } = await client.show(name);
      if (state !== 'running') this.#fail(`${name} was started and is ${state}`);
    }
    for (const name of this.#names) await client.destroy(name, true);
    await this.#stage.down();
    for (const place of ['state/vms', 'run/vms', 'run/exits']) {
      const left = readdirSync(join(dir, place));
      if (left.length > 0) this.#fail(`left in ${place}: ${left.join(' ')}`);
    }
  }
}
