import { randomUUID } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { pino, type Logger } from 'pino';
import { messageOf } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { LIMITS } from '../base/limits.ts';
import { Boot } from '../engine/boot.ts';
import { Consoles } from '../engine/consoles.ts';
import { Engine } from '../engine/engine.ts';
import { EventLog } from '../engine/events.ts';
import { Reconciler } from '../engine/reconcile.ts';
import { Schedule } from '../engine/schedule.ts';
import { Keeper } from '../engine/keeper.ts';
import { ImageStore } from '../image/image-store.ts';
import { BoundedLog } from '../io/bounded-log.ts';
import { recordingIn } from '../io/recording.ts';
import { layout, type Layout } from '../platform/layout.ts';
import type { Finding, Platform } from '../platform/platform.ts';
import type { Config } from '../spec/config.ts';
import { Store } from '../store/store.ts';
import { openBook, type Book } from './book.ts';
import { frontOf, type Front } from './front.ts';
import { recorder } from './terminals.ts';

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

/**
 * Looks after who comes in, and the log of it. VMs do not wait for it: a directory of users that does not answer, or a
 * full disk, is no reason to leave one down that has crashed.
 */
const tender = (front: Front, book: Book, log: Logger): (() => void) => {
  let work: Promise<void> | undefined;
  const both = async (): Promise<void> => {
    const ends = await Promise.allSettled([front.tend(), book.anchor()]);
    for (const end of ends)
      if (end.status === 'rejected') log.warn({ reason: messageOf(end.reason) }, 'brigd.not-tended');
  };
  return () => void (work ??= both().finally(() => (work = undefined)));
};

/** What brigd itself needs, its sockets among it. */
const ownPlace = (host: Host, places: Layout, config: Config, tend: () => void, front: Front) => ({
  isPrepared: async (): Promise<boolean> => {
    if (!(await arePrepared(host, places)) || front.doors.isLost) return false;
    tend();
    return true;
  },
  prepare: async (): Promise<void> => {
    await prepareFiles(host, places, config);
    await front.doors.reopen();
  },
});

/** Consoles follow the VMs: read from the moment they run, so that what a guest says is kept. */
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

/** Nobody else reads it, nor what SQLite writes beside it: made so, and not only afterwards. */
const openStore = (path: string): Store => {
  const before = process.umask(0o077);
  try {
    for (const each of [path, `${path}-wal`]) if (existsSync(each)) chmodSync(each, 0o600);
    return new Store(path);
  } finally {
    process.umask(before);
  }
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
  const store = openStore(places.store);
  let book: Book | undefined;
  try {
    await prepareFiles(host, places, config);
    book = await openBook(config, places, store, () => host.now());
    const findings = await platform.prepare(host);
    const events = new EventLog(store, () => host.now());
    const parallel = availableParallelism();
    const engine = new Engine({ host, platform, store, events, config, newId: randomUUID, cores: parallel });
    const history = (vm: string): BoundedLog =>
      new BoundedLog(places.vm(vm).consoleLog, engine.row(vm).spec.console.logBytes);
    const onSession = recorder(book.log, () => host.now(), 'console');
    const consoles = new Consoles({
      ...{ host, paths: places.vm, history, replayBytes: LIMITS.consoleReplayBytes, onSession },
      record: config.consoles.record ? recordingIn(places.recordingsDir, () => host.now()) : undefined,
    });
    const unlisten = [followConsoles(events, consoles), logEvents(events, log)];
    const reconciler = new Reconciler({ host, platform, engine, store, events, policy: config.reconcile, parallel });
    const boot = new Boot({ host, engine, store, events, layout: places, parallel });
    const images = imagesOf(platform, places, store);
    const unready = await images.prepare(host);
    const parts = { engine, images, host, platform, store, config, ledger: book.log };
    const front = await frontOf({ ...parts, events, consoles, reconciler, boot, places });
    const keeper = new Keeper({
      host,
      engine,
      store,
      events,
      layout: places,
      reconciler,
      boot,
      schedule: new Schedule({ host, store, events, snapshots: engine.snapshots }),
      ...ownPlace(host, places, config, tender(front, book, log), front),
    });
    await keeper.open();
    await front.open();
    const listening = front.remote && { port: front.remote.port, fingerprint: front.remote.fingerprint };
    log.info({ socket: places.socket, platform: platform.name, ...listening }, 'brigd.ready');
    const close = async (): Promise<void> => {
      keeper.close();
      await front.close();
      await drain(engine);
      events.add('brigd.stopped', 'brigd', undefined, { epoch: store.epoch });
      for (const stop of unlisten) stop();
      await consoles.closeAll();
      await front.end();
      await book?.close();
      store.close();
    };
    return { engine, events, keeper, findings: [...findings, ...unready], close };
  } catch (error) {
    await book?.close().catch(() => undefined);
    store.close();
    throw error;
  }
};
