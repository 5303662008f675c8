import { randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { chmod, readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { pino, type Logger } from 'pino';
import { Api } from '../api/server.ts';
import { Screens } from '../api/vnc.ts';
import { messageOf } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { LIMITS } from '../base/limits.ts';
import { auditVms } from '../engine/audit.ts';
import { Boot } from '../engine/boot.ts';
import { Consoles } from '../engine/consoles.ts';
import { Engine } from '../engine/engine.ts';
import { EventLog } from '../engine/events.ts';
import { Reconciler } from '../engine/reconcile.ts';
import { Schedule } from '../engine/schedule.ts';
import { Keeper } from '../engine/keeper.ts';
import { incomingOf } from '../image/from-vm.ts';
import { ImageStore } from '../image/image-store.ts';
import { trustIn } from '../image/trusting.ts';
import { BoundedLog } from '../io/bounded-log.ts';
import { connectScreen } from '../io/screen.ts';
import { layout, type Layout } from '../platform/layout.ts';
import type { ImageView } from '../platform/images.ts';
import type { Finding, Platform, Screen } from '../platform/platform.ts';
import type { Config } from '../spec/config.ts';
import type { VmSpec } from '../spec/vm.ts';
import { Store } from '../store/store.ts';
import { ConsoleSockets, type Access } from './console-sockets.ts';
import { Door } from './door.ts';

export interface DaemonOptions<Seen> {
  readonly config: Config;
  readonly host: Host;
  readonly platform: Platform<Seen>;
  readonly log?: Logger;
}

/** A brigd in this process. */
export interface Daemon<Seen> {
  readonly engine: Engine<Seen>;
  readonly events: EventLog;
  readonly keeper: Keeper<Seen>;
  readonly findings: readonly Finding[];
  /** VMs live on; starts under way are undone, everything else is finished. */
  close(): Promise<void>;
}

const ROOT = { uid: 0, gid: 0 };

/** Directories, and the supervisor as a file of its own: an upgrade must not change a script that sh is reading. */
const prepareFiles = async (host: Host, places: Layout, config: Config): Promise<void> => {
  const script = await readFile(new URL('../platform/supervise.sh', import.meta.url), 'utf8');
  await host.mkdir(config.stateDir, { mode: 0o711, ...ROOT });
  await host.mkdir(config.runDir, { mode: 0o711, ...ROOT });
  await host.mkdir(places.vmsDir, { mode: 0o711, ...ROOT });
  await host.mkdir(places.statesDir, { mode: 0o711, ...ROOT });
  await host.mkdir(places.exits, { mode: 0o700, ...ROOT });
  await host.writeFile(places.supervisor, script, { mode: 0o500, ...ROOT });
};

const arePrepared = async (host: Host, places: Layout): Promise<boolean> =>
  (await host.stat(places.exits)) !== undefined && (await host.stat(places.supervisor)) !== undefined;

/** What brigd itself needs, its socket among it. */
const ownPlace = (host: Host, places: Layout, config: Config, door: Door) => ({
  isPrepared: async (): Promise<boolean> => (await arePrepared(host, places)) && !door.isLost,
  prepare: async (): Promise<void> => {
    await prepareFiles(host, places, config);
    if (door.isLost) await door.open();
  },
});

/** Consoles follow the VMs: read from the moment they run, so that no guest waits for a reader. */
const followConsoles = (events: EventLog, consoles: Consoles): (() => void) =>
  events.listen(({ kind, vm, data }) => {
    if (vm === undefined) return;
    if (kind === 'vm.running' || kind === 'vm.adopted')
      void consoles
        .open(vm)
        .catch((error: unknown) => events.add('console.failed', 'brigd', vm, { reason: messageOf(error) }));
    if ((kind === 'step.started' && data.op === 'undo' && data.step === 'run-dir.create') || kind === 'vm.ended')
      void consoles.close(vm);
  });

const logEvents = (events: EventLog, log: Logger): (() => void) =>
  events.listen((event) => {
    const level =
      event.kind.endsWith('failed') || event.kind === 'vm.stuck'
        ? 'error'
        : event.kind.startsWith('step.')
          ? 'debug'
          : event.kind.startsWith('vm.not-')
            ? 'warn'
            : 'info';
    log[level]({ vm: event.vm, cause: event.cause, ...event.data }, event.kind);
  });

/** Waits for operations under way: starts are cancelled and undone, the rest comes to its end. */
const drain = async <Seen>(engine: Engine<Seen>): Promise<void> => {
  engine.operations.close();
  for (const operation of engine.operations.all())
    if (operation.verb === 'start' || operation.verb === 'create') operation.abort.abort();
  const timeout = new Promise<void>((resolve) => setTimeout(resolve, LIMITS.drainTimeoutMs).unref());
  await Promise.race([Promise.allSettled(engine.operations.all().map((operation) => operation.done)), timeout]);
};

const imagesOf = ({ imageDisks }: Platform, places: Layout, store: Store): ImageStore =>
  new ImageStore({ ...places, disks: imageDisks, users: (digest) => store.countUsers(digest) });

const complete = async <Seen>(
  images: ImageStore,
  host: Host,
  { uefi, arch }: Platform<Seen>,
  document: unknown,
): Promise<VmSpec> => images.complete(host, document, { uefi, arch: await arch(host) });

const promoteImage =
  <Seen>(engine: Engine<Seen>, images: ImageStore, host: Host, store: Store) =>
  async (ref: string): Promise<{ readonly removed: string }> => {
    const digest = await images.digestOf(host, ref);
    const users = store.listVms().filter(({ spec }) => spec.image?.digest === digest);
    const [user, ...more] = users;
    if (user && more.length === 0) await engine.snapshots.promote(user.name, { cause: 'operator' });
    return await images.remove(host, digest);
  };

const imageFrom =
  <Seen>(engine: Engine<Seen>, images: ImageStore, host: Host, platform: Platform<Seen>) =>
  async (vm: string, snapshot: string | undefined, about: unknown, signal: AbortSignal): Promise<ImageView> => {
    const arch = await platform.arch(host);
    return await engine.snapshots.read(vm, snapshot, { cause: 'operator' }, (disks, spec) =>
      images.take(host, incomingOf({ about, arch, disks, spec, snapshot }), signal),
    );
  };

/** Serial consoles, their sockets for other tools, and screens. */
const consolesOf = <Seen>(engine: Engine<Seen>, host: Host, platform: Platform<Seen>, places: Layout) => {
  const history = (vm: string): BoundedLog =>
    new BoundedLog(places.vm(vm).consoleLog, engine.row(vm).spec.console.logBytes);
  const consoles = new Consoles({ host, paths: places.vm, history, replayBytes: LIMITS.consoleReplayBytes });
  const find = (vm: string): Screen | undefined => platform.screen(engine.vm(vm));
  const screens = new Screens({ find, connect: connectScreen, now: () => host.now() });
  const mayStill = (uid: number): Access | undefined => (uid === 0 ? { who: 'root', mayWrite: true } : undefined);
  const sockets = new ConsoleSockets({ dir: places.consolesDir, consoles, mayStill });
  const consoleSocket = (vm: string): Promise<string> => sockets.open(vm, 0);
  return { consoles, sockets, rooms: { consoles, screens, consoleSocket } };
};

/**
 * Starts brigd: makes the node ready, recovers what an earlier one left, adopts running VMs, then listens.
 * Errors: store.busy when another brigd has the state directory; host.* when the node cannot be made ready.
 */
export const startDaemon = async <Seen>(options: DaemonOptions<Seen>): Promise<Daemon<Seen>> => {
  const { config, host, platform } = options;
  const log = options.log ?? pino({ level: 'silent' });
  const places = layout(config);
  mkdirSync(config.stateDir, { recursive: true, mode: 0o711 });
  mkdirSync(config.runDir, { recursive: true, mode: 0o711 });
  const store = new Store(places.store);
  await chmod(places.store, 0o600);
  try {
    await prepareFiles(host, places, config);
    const findings = await platform.prepare(host);
    const events = new EventLog(store, () => host.now());
    const parallel = availableParallelism();
    const engine = new Engine({ host, platform, store, events, config, newId: randomUUID, cores: parallel });
    const { consoles, sockets, rooms } = consolesOf(engine, host, platform, places);
    const unlisten = [followConsoles(events, consoles), logEvents(events, log)];
    const reconciler = new Reconciler({ host, platform, engine, store, events, policy: config.reconcile, parallel });
    const boot = new Boot({ host, engine, store, events, layout: places, parallel });
    const images = imagesOf(platform, places, store);
    const unready = await images.prepare(host);
    const api = new Api({
      engine,
      events,
      ...rooms,
      reconciler,
      boot,
      audit: (name) => auditVms(engine, platform, host, name),
      doctor: () => platform.doctor(host),
      host,
      promoteImage: promoteImage(engine, images, host, store),
      imageFrom: imageFrom(engine, images, host, platform),
      bases: platform.bases,
      images,
      trust: trustIn(places.keysDir),
      complete: (document) => complete(images, host, platform, document),
    });
    const door = new Door(api, places.socket);
    const keeper = new Keeper({
      host,
      engine,
      store,
      events,
      layout: places,
      reconciler,
      boot,
      schedule: new Schedule({ host, store, events, snapshots: engine.snapshots }),
      ...ownPlace(host, places, config, door),
    });
    await keeper.open();
    await sockets.restore();
    await door.open();
    log.info({ socket: places.socket, platform: platform.name }, 'brigd.ready');
    const close = async (): Promise<void> => {
      keeper.close();
      door.close();
      await drain(engine);
      events.add('brigd.stopped', 'brigd', undefined, { epoch: store.epoch });
      for (const stop of unlisten) stop();
      await sockets.close();
      await consoles.closeAll();
      await door.end();
      store.close();
    };
    return { engine, events, keeper, findings: [...findings, ...unready], close };
  } catch (error) {
    store.close();
    throw error;
  }
};
