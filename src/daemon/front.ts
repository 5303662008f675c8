import { Api } from '../api/server.ts';
import type { Ledger } from '../api/ledger.ts';
import { Sessions } from '../api/sessions.ts';
import type { Host } from '../base/host.ts';
import { Access } from '../engine/access.ts';
import type { Boot } from '../engine/boot.ts';
import type { Consoles } from '../engine/consoles.ts';
import { Counters } from '../engine/counters.ts';
import type { EventLog } from '../engine/events.ts';
import type { Reconciler } from '../engine/reconcile.ts';
import { trustIn } from '../image/trusting.ts';
import { realHost } from '../io/host.ts';
import type { Layout } from '../platform/layout.ts';
import { Accounts } from './accounts.ts';
import { answersOf, type Parts } from './answers.ts';
import { Doors } from './doors.ts';
import { figuresOf } from './figures.ts';

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
  readonly unlisten: () => void;
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
  (accounts: Accounts) =>
  async (principal: string): Promise<boolean> => {
    const [kind = '', name = ''] = principal.split(':');
    return kind === 'user' || kind === 'group' ? await accounts.isKnown(kind, name) : false;
  };

/** Events after which others may come in, or fewer. */
const OF_ACCESS = /^(access\.|vm\.created$|vm\.destroyed$)/;

/** Everything between a socket and the engine: who calls, what he may, what he is answered. */
export const frontOf = <Seen>(options: FrontOptions<Seen>): Front => {
  const { engine, store, events, host, platform, places } = options;
  const accounts = accountsOf(host);
  const access = new Access({
    ...{ store, events, now: () => host.now(), isKnown: knows(accounts) },
    hasNetwork: (name) => engine.networks.names().includes(name),
    groupsOf: (user) => accounts.groupsOf(user),
  });
  access.open();
  const sessions = new Sessions((who) => access.principal(who.id));
  const counters = new Counters();
  const uncount = events.listen(counters.take);
  const api: Api<Seen> = new Api({
    ...options,
    ...{ access, sessions },
    ...answersOf({ ...options, access }, () => api.admittance),
    bases: platform.bases,
    trust: trustIn(places.keysDir),
    settle: () => doors.sync(),
    counters,
    figures: figuresOf(store, places.store, options.config.stateDir),
  });
  const doors = new Doors({
    ...{ api, layout: places, accounts, onChange: () => sessions.review() },
    principals: () => access.principals(),
    principal: (id) => access.principal(id),
  });
  const unlisten = events.listen(({ kind }) => {
    if (!OF_ACCESS.test(kind)) return;
    sessions.review();
    void doors.sync();
  });
  return {
    doors,
    unlisten: () => {
      uncount();
      unlisten();
    },
  };
};
