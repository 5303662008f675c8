import { Api } from '../api/server.ts';
import type { Ledger } from '../api/ledger.ts';
import { Sessions } from '../api/sessions.ts';
import type { Host } from '../base/host.ts';
import { Access } from '../engine/access.ts';
import type { Boot } from '../engine/boot.ts';
import type { Consoles } from '../engine/consoles.ts';
import { Counters } from '../engine/counters.ts';
import type { EventLog } from '../engine/events.ts';
import { Keys } from '../engine/keys.ts';
import type { Reconciler } from '../engine/reconcile.ts';
import { trustIn } from '../image/trusting.ts';
import { realHost } from '../io/host.ts';
import type { Layout } from '../platform/layout.ts';
import type { Finding } from '../platform/platform.ts';
import { Accounts } from './accounts.ts';
import { answersOf, type Parts } from './answers.ts';
import { auditFinding } from './audit-finding.ts';
import type { DoorApi } from './door.ts';
import { Doors } from './doors.ts';
import { figuresOf } from './figures.ts';
import { Refusals } from './refusals.ts';
import type { RemoteDoor } from './remote-door.ts';
import { terminalsOf } from './terminals.ts';

export interface FrontOptions<Seen> extends Omit<Parts<Seen>, 'access'> {
  readonly events: EventLog;
  readonly consoles: Consoles;
  readonly reconciler: Reconciler<Seen>;
  readonly boot: Boot<Seen>;
  readonly places: Layout;
  readonly ledger: Ledger;
}

/** What requests come in by. */
export interface Front {
  readonly doors: Doors;
  /** Absent: nobody comes in from elsewhere. */
  readonly remote: RemoteDoor | undefined;
  /** Part of brigd's pass over the host: sockets, users, groups and keys as they are now. */
  tend(): Promise<void>;
  open(): Promise<void>;
  /** Nobody new comes in. */
  close(): Promise<void>;
  end(): Promise<void>;
}

/** Names and groups of this host: the real one's, for brigd itself listens there. */
const accountsOf = (host: Host): Accounts =>
  new Accounts({
    run: (what) => realHost.run(what),
    changedMs: async (path) => (await realHost.stat(path))?.modifiedMs,
    now: () => host.now(),
  });

/** Whether somebody could be a principal here. */
const knows =
  (accounts: Accounts, keys: Keys) =>
  async (principal: string): Promise<boolean> => {
    const [kind = '', name = ''] = principal.split(':');
    const all = keys.list().filter(({ state }) => state === 'valid');
    if (kind === 'key') return all.some((key) => key.name === name);
    if (kind === 'user' && all.some(({ owner }) => owner === name)) return true;
    return kind === 'user' || kind === 'group' ? await accounts.isKnown(kind, name) : false;
  };

/** Events after which others may come in, or fewer. */
const OF_ACCESS = /^(access\.|vm\.created$|vm\.destroyed$)/;

/** The door for requests from elsewhere, where the configuration wants one. Errors: config.invalid, acl.denied, host.failed. */
const remoteDoorOf = async <Seen>(
  { config, host, places }: FrontOptions<Seen>,
  keys: Keys,
  api: DoorApi,
  refusals: Refusals,
): Promise<RemoteDoor | undefined> => {
  const { listen } = config;
  if (!listen) return undefined;
  // Loaded only when asked for: TLS takes memory that a brigd without it need not have.
  const [{ Authenticator }, { openCertificate }, { RemoteDoor }] = await Promise.all([
    import('../acl/authenticator.ts'),
    import('./certificate.ts'),
    import('./remote-door.ts'),
  ]);
  const authenticator = new Authenticator({ find: keys.find, now: () => host.now() });
  return new RemoteDoor({
    ...{ address: listen.address, port: listen.port },
    certificate: await openCertificate(realHost, listen, places.tlsDir),
    admit: (...asked) => authenticator.admit(...asked),
    refused: refusals.tell,
    inside: {
      handle: (request, response, { principal, body }) => api.handle(request, response, principal, body),
      upgrade: (request, socket, head, { principal }) => api.upgrade(request, socket, head, principal),
    },
  });
};

/** The host's fitness, and that of what requests come in by. */
const doctor = async <Seen>(
  ofHost: () => Promise<readonly Finding[]>,
  { places, host }: FrontOptions<Seen>,
  remote: RemoteDoor | undefined,
): Promise<Finding[]> => [
  ...(await ofHost()),
  await auditFinding(places.auditDir),
  ...(remote ? [remote.finding(host.now())] : []),
];

const accessOf = <Seen>({ engine, store, events, host }: FrontOptions<Seen>, accounts: Accounts, keys: Keys): Access =>
  new Access({
    ...{ store, events, keys, now: () => host.now(), isKnown: knows(accounts, keys) },
    hasNetwork: (name) => engine.networks.names().includes(name),
    groupsOf: (user) => accounts.groupsOf(user),
  });

/** Everything between a socket and the engine: who calls, what he may, what he is answered. */
export const frontOf = async <Seen>(options: FrontOptions<Seen>): Promise<Front> => {
  const { store, events, host, platform, places } = options;
  const accounts = accountsOf(host);
  const keys = new Keys({ store, now: () => host.now() });
  const access = accessOf(options, accounts, keys);
  access.open();
  const sessions = new Sessions(({ id, from }) =>
    id.startsWith('key:') ? keys.principal(id, from) : access.principal(id),
  );
  const refusals = new Refusals(options.ledger);
  const terminals = terminalsOf({ ...options, access, accounts, refused: refusals.tell });
  const review = (): void => {
    sessions.review();
    terminals.sockets.review();
  };
  const counters = new Counters();
  const uncount = events.listen(counters.take);
  const answers = answersOf({ ...options, access }, () => api.admittance);
  const api: Api<Seen> = new Api({
    ...{ ...options, ...answers, access, sessions, keys },
    ...{ bases: platform.bases, trust: trustIn(places.keysDir), settle: () => doors.sync() },
    ...{ screens: terminals.screens, consoleSocket: (...asked) => terminals.consoleSocket(...asked) },
    ...{ counters, figures: figuresOf(store, places.store, options.config.stateDir) },
    doctor: () => doctor(answers.doctor, options, remote),
  });
  const doors = new Doors({
    ...{ api, layout: places, accounts, onChange: review },
    refused: refusals.tell,
    principals: () => access.principals(),
    principal: (id) => access.principal(id),
  });
  const remote = await remoteDoorOf(options, keys, api, refusals);
  const changed = (): void => {
    review();
    // Who cannot be told of now is told with the next pass over the host.
    void doors.sync().catch(() => undefined);
  };
  const unlisten = events.listen(({ kind }) => {
    if (OF_ACCESS.test(kind)) changed();
  });
  keys.onRevoked((id) => {
    remote?.drop(id);
    access.withdraw();
    changed();
  });
  return {
    ...{ doors, remote },
    tend: async () => {
      keys.pass();
      await doors.sync();
    },
    open: async () => {
      // Whose the sockets of consoles are, an earlier brigd knew; this one asks first.
      if (process.getuid?.() === 0) await accounts.refresh(access.principals());
      await terminals.sockets.restore();
      await doors.open();
      await remote?.open();
    },
    close: async () => {
      uncount();
      unlisten();
      doors.close();
      remote?.close();
      // Before the consoles themselves: what is open now is open again with the next brigd.
      await terminals.sockets.close();
    },
    end: async () => {
      await doors.end();
      remote?.end();
    },
  };
};
