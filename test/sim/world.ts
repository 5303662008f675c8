import { strict as assert } from 'node:assert';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command, DiskPort, Host, Result } from '../../src/base/host.ts';
import { BrigError } from '../../src/base/errors.ts';
import { auditVms } from '../../src/engine/audit.ts';
import { Boot } from '../../src/engine/boot.ts';
import { Engine } from '../../src/engine/engine.ts';
import { EventLog } from '../../src/engine/events.ts';
import type { VmView } from '../../src/engine/view.ts';
import { Schedule } from '../../src/engine/schedule.ts';
import { Reconciler } from '../../src/engine/reconcile.ts';
import { Keeper } from '../../src/engine/keeper.ts';
import type { Seen } from '../../src/freebsd/observe.ts';
import { freebsdPlatform } from '../../src/freebsd/platform.ts';
import { readFragments } from '../../src/io/fragments.ts';
import { createModel, type Model } from '../../src/model/model.ts';
import type { ModelOptions, Node } from '../../src/model/world.ts';
import type { Audit } from '../../src/platform/audit.ts';
import type { Platform } from '../../src/platform/platform.ts';
import { ImageStore } from '../../src/image/image-store.ts';
import { layout } from '../../src/platform/layout.ts';
import { parseConfig, type Config } from '../../src/spec/config.ts';
import { parseVm, type VmSpec } from '../../src/spec/vm.ts';
import { Store } from '../../src/store/store.ts';

export type FaultKind =
  | 'fails before'
  | 'fails after'
  | 'hangs'
  | 'runs twice'
  | 'dies before'
  | 'dies after'
  | 'reboots before'
  | 'reboots after';

/** One fault: at the nth effect on the host from when it is armed. */
export interface Fault {
  readonly kind: FaultKind;
  readonly at: number;
  readonly forEver: boolean;
}

const never = new Promise<never>(() => undefined);

/** The effects that change a host; looking is `run` too. */
const EFFECTS = [
  'run',
  'spawn',
  'writeFile',
  'copyFile',
  'allocate',
  'pack',
  'mkdir',
  'remove',
  'rmdir',
  'say',
  'rename',
] as const;

/** A host whose nth effect goes wrong, and whose user may die: then nothing that was asked for ever returns. */
export class Mortal {
  readonly host: Host;
  points = 0;
  reached = 0;
  dead = false;
  readonly commands: Command[] = [];
  /** A program that fails whenever it is run. */
  broken: string | undefined;
  #fault: Fault | undefined;
  #onDeath: (() => void) | undefined;

  constructor(real: Host) {
    const host: Record<string, unknown> = { ...real };
    for (const name of EFFECTS) {
      const effect = real[name].bind(real) as (...args: unknown[]) => Promise<unknown>;
      host[name] = (...args: unknown[]) => this.#perform(name, effect, args);
    }
    host.openDisk = async (path: string, mode: 'read' | 'write'): Promise<DiskPort> =>
      this.#wrapDisk(
        (await this.#perform('openDisk', (...args) => real.openDisk(...(args as [string, typeof mode])), [
          path,
          mode,
        ])) as DiskPort,
      );
    host.sleep = (ms: number) => (this.dead ? never : real.sleep(ms).then(() => (this.dead ? never : undefined)));
    host.watch = (path: string, onChange: () => void) => real.watch(path, () => (this.dead ? undefined : onChange()));
    this.host = host as unknown as Host;
  }

  /** Each write is an effect of its own. */
  #wrapDisk(disk: DiskPort): DiskPort {
    const effect =
      <A extends unknown[]>(name: string, work: (...args: A) => Promise<void>) =>
      (...args: A): Promise<void> =>
        this.#perform(name, (...given) => work(...(given as A)), args) as Promise<void>;
    return {
      ...disk,
      write: effect('write', disk.write),
      resize: effect('resize', disk.resize),
      sync: effect('sync', disk.sync),
    };
  }

  arm(fault: Fault | undefined, onDeath?: () => void): void {
    this.points = 0;
    this.#fault = fault;
    this.#onDeath = onDeath;
  }

  #die(): Promise<never> {
    this.dead = true;
    this.#onDeath?.();
    return never;
  }

  #hits(): boolean {
    this.points++;
    const fault = this.#fault;
    return fault !== undefined && (fault.forEver ? this.points >= fault.at : this.points === fault.at);
  }

  async #perform(name: string, effect: (...args: unknown[]) => Promise<unknown>, args: unknown[]): Promise<unknown> {
    if (this.dead) return await never;
    if (name === 'run') {
      const command = args[0] as Command;
      this.commands.push(command);
      if (command.program === this.broken) return failed;
    }
    if (!this.#hits()) return await effect(...args);
    this.reached++;
    switch (this.#fault?.kind) {
      case 'runs twice':
        await effect(...args).catch(() => undefined);
        return await effect(...args);
      case 'reboots before':
      case 'dies before':
        return await this.#die();
      case 'reboots after':
      case 'dies after':
        await effect(...args).catch(() => undefined);
        return await this.#die();
      case 'hangs':
        return name === 'run' ? { status: 124, stdout: '', stderr: '', timedOut: true } : fail(name);
      case 'fails after':
        await effect(...args).catch(() => undefined);
        return name === 'run' ? failed : fail(name);
      default:
        return name === 'run' ? failed : fail(name);
    }
  }
}

const failed: Result = { status: 1, stdout: '', stderr: 'injected fault', timedOut: false };
const fail = (name: string): never => {
  throw new BrigError('host.failed', `${name}: injected fault`);
};

const POOL = 'tank/brig';
/** A real store on a file system that needs no disk: thousands of worlds come and go. */
const MEMORY = existsSync('/dev/shm') ? '/dev/shm' : undefined;

/** Directories of a signed root, by path. */
const signed = new Map<string, Node>();

/** The real engine over the model: what brigd is, without its socket. */
export class World {
  readonly model: Model;
  readonly dir = mkdtempSync(join(MEMORY ?? tmpdir(), 'brig-sim-'));
  readonly config: Config;
  mortal!: Mortal;
  platform!: Platform<Seen>;
  engine!: Engine<Seen>;
  keeper!: Keeper<Seen>;
  node!: Boot<Seen>;
  reconciler!: Reconciler<Seen>;
  events!: EventLog;
  /** The last brigd never came up. */
  stillborn = false;
  /** Armed from the first moment of the next brigd on. */
  next: { fault: Fault; onDeath: () => void } | undefined;
  #store!: Store;
  #ids = 0;

  constructor(options: ModelOptions = {}, dataset = POOL, config: Partial<Config> = {}) {
    this.config = parseConfig(JSON.stringify({ dataset, ...config }), 'sim');
    this.model = createModel({ pool: 'tank', cpus: 4, ...options });
  }

  get store(): Store {
    return this.#store;
  }

  /** The pool's dataset, as an administrator makes it. */
  async prepare(root: 'own' | 'shared' = 'own'): Promise<this> {
    const { dataset } = this.config;
    if (dataset !== undefined) await this.shell('/sbin/zfs', 'create', '-p', dataset);
    if (root === 'own') return await this.boot();
    await this.#shareRoot(() => this.boot());
    return this;
  }

  /** A root that one world built and signed serves others: it is byte-identical, and signing takes its time. */
  async #shareRoot(boot: () => Promise<unknown>): Promise<void> {
    const { host, state } = this.model;
    await host.mkdir(this.config.stateDir, { mode: 0o711, uid: 0, gid: 0 });
    const paths = ['base', 'keys'].map((dir) => `${this.config.stateDir}/${dir}`);
    for (const path of paths) {
      const node = signed.get(path);
      if (node) this.model.plantFile(path, node);
    }
    await boot();
    if (signed.size === 0) for (const path of paths) signed.set(path, structuredClone(state.find(path)) as Node);
  }

  /** A new brigd on the same host and the same state. */
  async boot(): Promise<this> {
    this.stillborn = true;
    await this.#boot().catch((error: unknown) => {
      this.die();
      throw error;
    });
    this.stillborn = false;
    return this;
  }

  async #boot(): Promise<void> {
    const paths = { stateDir: this.config.stateDir, runDir: this.config.runDir };
    const places = layout(paths);
    this.mortal = new Mortal(this.model.host);
    if (this.next) this.mortal.arm(this.next.fault, this.next.onDeath);
    this.next = undefined;
    const { host } = this.mortal;
    this.#store = new Store(join(this.dir, 'brig.db'));
    const platform = (this.platform = freebsdPlatform({
      paths,
      dataset: this.config.dataset,
      fragments: readFragments(),
      allowDevices: [],
      reserve: this.config.reserve,
    }));
    const prepare = async (): Promise<void> => {
      for (const path of [paths.runDir, paths.stateDir, places.vmsDir, places.statesDir])
        await host.mkdir(path, { mode: 0o711, uid: 0, gid: 0 });
      await host.mkdir(places.exits, { mode: 0o700, uid: 0, gid: 0 });
      await host.writeFile(places.supervisor, 'supervise.sh', { mode: 0o500, uid: 0, gid: 0 });
    };
    const isPrepared = async (): Promise<boolean> =>
      (await host.stat(places.exits)) !== undefined && (await host.stat(places.supervisor)) !== undefined;
    await prepare();
    await platform.prepare(host);
    this.events = new EventLog(this.#store, () => host.now());
    const newId = (): string => `id${++this.#ids}`;
    const { config, events: log } = this;
    this.engine = new Engine({ host, platform, store: this.#store, events: log, config, newId, cores: 2 });
    this.reconciler = new Reconciler({
      host,
      platform,
      engine: this.engine,
      store: this.#store,
      events: this.events,
      policy: this.config.reconcile,
      parallel: 2,
    });
    const { engine, events } = this;
    this.node = new Boot({ host, engine, store: this.#store, events, layout: places, parallel: 2 });
    this.keeper = new Keeper({
      host,
      reconciler: this.reconciler,
      engine: this.engine,
      store: this.#store,
      events: this.events,
      layout: places,
      boot: this.node,
      schedule: new Schedule({ host, store: this.#store, events, snapshots: engine.snapshots }),
      prepare,
      isPrepared,
    });
    await this.keeper.open();
  }

  /** pf as doctor asks for it. */
  async filter(rules = 'nat-anchor "brig/*"\nrdr-anchor "brig/*"\nanchor "brig/*"\n'): Promise<void> {
    await this.shell('/sbin/kldload', 'pf');
    await this.model.host.run({ program: '/sbin/pfctl', args: ['-f', '-'], stdin: rules, timeoutMs: 1000 });
    await this.shell('/sbin/pfctl', '-e');
  }

  /** The store of images, as brigd opens it when it starts. */
  async openImages(): Promise<ImageStore> {
    const { host } = this.mortal;
    const store = this.#store;
    const images = new ImageStore({
      ...layout(this.config),
      disks: this.platform.imageDisks,
      users: (digest) => store.countUsers(digest),
    });
    assert.deepEqual(await images.prepare(host), []);
    return images;
  }

  /** kill -9 of brigd: whatever it waits for never comes. */
  die(): void {
    this.mortal.dead = true;
    this.keeper.close();
    this.#store.close();
  }

  close(): void {
    if (!this.mortal.dead) this.die();
    rmSync(this.dir, { recursive: true });
  }

  /** A command of a person at the host. */
  async shell(program: string, ...args: string[]): Promise<string> {
    return (await this.model.host.run({ program, args, timeoutMs: 60_000 } satisfies Command)).stdout;
  }

  /** Commands that brigd runs from now on. */
  watchCommands(): () => readonly Command[] {
    const from = this.mortal.commands.length;
    return () => this.mortal.commands.slice(from);
  }

  async create(change: Partial<Record<keyof VmSpec, unknown>> = {}): Promise<void> {
    const spec = parseVm({
      name: 'web01',
      firmware: { builtin: 'test' },
      memory: '64M',
      nics: [{}],
      disks: [{ zvol: { size: '64M' } }],
      ...change,
    });
    await this.engine.create(spec, { cause: 'operator' });
  }

  /** Every running VM's sandbox, or one. */
  audit(name?: string): Promise<readonly Audit[]> {
    const names = name === undefined ? this.store.listVms().map((row) => row.name) : [name];
    return auditVms(this.engine, this.platform, this.model.host, names, name !== undefined);
  }

  /** Every VM, as people are told of it. */
  list(): Promise<VmView[]> {
    return this.engine.views(this.store.listVms());
  }

  async state(name = 'web01'): Promise<string> {
    return (await this.engine.show(name)).state;
  }

  kinds(name = 'web01'): string[] {
    return this.events.list(0, 10_000, name).map((event) => event.kind);
  }

  /** Waits in the host's time. */
  async until(holds: () => Promise<boolean> | boolean, forMs = 120_000): Promise<void> {
    const deadline = this.model.host.now() + forMs;
    while (!(await holds())) {
      if (this.model.host.now() > deadline)
        throw new Error(`still not after ${forMs} ms: ${JSON.stringify(this.kinds())}`);
      await this.model.host.sleep(50);
    }
  }

  /** Everything on the host that a VM could leave behind; disks aside. */
  async inventory(): Promise<string[]> {
    const all = await Promise.all([
      this.shell('/sbin/ifconfig', '-l'),
      this.shell('/usr/sbin/jls', '-d', '--libxo=json', '-n', 'jid', 'name', 'path', 'dying', 'vnet', 'devfs_ruleset'),
      this.shell('/sbin/mount', '-p').then((text) => text.replaceAll(/^.*\tzfs\t.*\n/gm, '')),
      this.shell('/sbin/devfs', 'rule', 'showsets'),
      this.shell('/usr/bin/rctl'),
      this.shell('/sbin/pfctl', '-v', '-s', 'Anchors'),
      this.shell('/bin/ps', '--libxo=json', '-ax', '-o', 'pid,ppid,jid,jail,user,stat,rss,lstart,command'),
      this.model.host.list('/dev/vmm').then((names) => (names ?? []).join(' ')),
      this.model.host.list('/var/run/brig/vms').then((names) => (names ?? []).join(' ')),
    ]);
    return all;
  }
}
