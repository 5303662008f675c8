import type { Principal } from '../acl/principal.ts';
import type { Host } from '../base/host.ts';
import type { Access } from '../engine/access.ts';
import type { Boot } from '../engine/boot.ts';
import type { Consoles } from '../engine/consoles.ts';
import type { Counters } from '../engine/counters.ts';
import type { Engine } from '../engine/engine.ts';
import type { EventLog } from '../engine/events.ts';
import type { Keys } from '../engine/keys.ts';
import type { Reconciler } from '../engine/reconcile.ts';
import type { VmView } from '../engine/view.ts';
import type { Audit } from '../platform/audit.ts';
import type { Bases } from '../platform/bases.ts';
import type { Images, ImageView, Trusting } from '../platform/images.ts';
import type { Finding } from '../platform/platform.ts';
import type { QuotaView } from '../engine/quota.ts';
import type { NetworkSpec } from '../spec/network.ts';
import type { TemplateView } from '../spec/template.ts';
import type { VmSpec } from '../spec/vm.ts';
import type { Store } from '../store/store.ts';
import type { VmRow } from '../store/rows.ts';
import type { Ledger } from './ledger.ts';
import type { NodeFigures } from './metrics.ts';
import type { Call } from './route.ts';
import type { Sessions } from './sessions.ts';
import type { Screens } from './vnc.ts';

/** What the API answers with. */
export interface ApiOptions<Seen> {
  readonly engine: Engine<Seen>;
  readonly access: Access;
  readonly sessions: Sessions;
  readonly keys: Keys;
  readonly ledger: Ledger;
  /** Resolves when sockets are as rules are. */
  readonly settle: () => Promise<void>;
  readonly store: Pick<Store, 'answers'>;
  readonly events: EventLog;
  readonly consoles: Consoles;
  readonly screens: Screens;
  /** Path of a socket for other tools. Errors: acl.denied for whoever is no user of this host; vm.blocked. */
  readonly consoleSocket: (who: Principal, vm: string) => Promise<string>;
  readonly reconciler: Reconciler<Seen>;
  readonly boot: Boot<Seen>;
  readonly findVm: (name: string) => VmRow | undefined;
  /** Of all networks. */
  readonly networkNames: () => readonly string[];
  /** The document of a network. */
  readonly findNetwork: (name: string) => NetworkSpec | undefined;
  readonly showVm: (name: string, who: Principal) => Promise<VmView>;
  /** `exactly`: those that were named must run. */
  readonly audit: (names: readonly string[], exactly: boolean) => Promise<readonly Audit[]>;
  readonly doctor: () => Promise<readonly Finding[]>;
  readonly templates: (who: Principal) => Promise<readonly TemplateView[]>;
  readonly quotas: (owners: readonly string[] | 'all') => readonly QuotaView[];
  readonly host: Host;
  readonly bases: Bases;
  readonly images: Images;
  readonly trust: Trusting;
  /** Gives an image's data to the one VM that was made of it, which takes edit on that, and removes it. */
  readonly promoteImage: (ref: string, who: Principal) => Promise<{ readonly removed: string }>;
  /** An image of the disks of a VM, or of its snapshot. */
  readonly imageFrom: (
    vm: string,
    snapshot: string | undefined,
    about: unknown,
    signal: AbortSignal,
  ) => Promise<ImageView>;
  /** What a request to create a VM asks for, after its caller was found to be allowed all of it; worked out once. */
  readonly specOf: (call: Call) => Promise<VmSpec>;
  readonly counters: Counters;
  readonly figures: () => Promise<NodeFigures>;
}
