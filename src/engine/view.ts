import type { NicPlacement } from '../base/placed.ts';
import type { VmSpec } from '../spec/vm.ts';
import type { Live, Vm } from '../platform/platform.ts';
import type { LastEnd, Trouble, VmRow } from '../store/rows.ts';
import type { Operation, Verb } from './operation.ts';
import type { QuotaView } from './quota.ts';

/**
 * defined -> starting -> running -> stopping -> defined; failed: not what was asked for, nothing left behind;
 * stuck: something is left that brig could not remove.
 */
export type State = 'defined' | 'starting' | 'running' | 'stopping' | 'failed' | 'stuck';

/** One VM as `brig list` and `brig show` give it. Shape is stable: keys are added, never changed. */
export interface VmView {
  readonly name: string;
  readonly state: State;
  /** What is asked for and waits for its turn: the state is still what it was. */
  readonly queued?: Verb;
  /** Why this node gives the VM less than brig promises. */
  readonly downgraded?: string;
  /** The document accepts that nothing contains its devices. */
  readonly unconfined?: true;
  /** Why it is failed or stuck. */
  readonly reason?: string;
  readonly pid?: number;
  /** Start of the process, milliseconds since the epoch. */
  readonly sinceMs?: number;
  readonly rssBytes?: number;
  /** False: nobody will learn how the process ends. */
  readonly supervised?: boolean;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly uid: number;
  readonly nics: readonly {
    readonly network: string;
    readonly mode: string;
    readonly mac: string;
    readonly unit: number;
    /** Its own, as its guest has them: leased, or as the document says. */
    readonly addresses: readonly string[];
    /** Blocks that are routed to it. */
    readonly delegated?: readonly string[];
  }[];
  readonly owner?: string;
  readonly autostart: boolean;
  readonly labels: Readonly<Record<string, string>>;
  /** What its disks were made of. */
  readonly image?: NonNullable<VmSpec['image']>;
  /** What its owner has, and may have; of one VM that is shown in full. */
  readonly quota?: QuotaView;
  readonly lastEnd?: LastEnd;
  readonly left?: Trouble['left'];
  readonly createdMs: number;
}

/** The others leave a VM as it is. */
const BUSY_STATE: Partial<Record<Verb, State>> = {
  create: 'defined',
  start: 'starting',
  restart: 'starting',
  stop: 'stopping',
  kill: 'stopping',
  destroy: 'stopping',
  clean: 'stopping',
};

/** The state is what the host says; the store only adds why. */
const stateOf = (live: Live, trouble: Trouble | undefined, operation: Operation | undefined): State => {
  const verb = operation?.queued ? undefined : operation?.verb;
  const busy = verb && BUSY_STATE[verb];
  if (busy) return busy;
  if (live.phase === 'running') return 'running';
  if (trouble?.kind === 'stuck') return 'stuck';
  if (live.phase === 'booting') return 'starting';
  return trouble || live.phase === 'residue' ? 'failed' : 'defined';
};

/** What nobody may overlook. */
const marksOf = (
  unconfined: boolean,
  downgraded: string | undefined,
  operation: Operation | undefined,
): Pick<VmView, 'queued' | 'unconfined' | 'downgraded'> => ({
  ...(operation?.queued ? { queued: operation.verb } : {}),
  ...(downgraded === undefined ? {} : { downgraded }),
  ...(unconfined ? { unconfined: true } : {}),
});

/** Whose it is, and what its disks were made of. */
const originOf = ({ owner, image }: VmSpec): Pick<VmView, 'owner' | 'image'> => ({
  ...(owner === undefined ? {} : { owner }),
  ...(image === undefined ? {} : { image }),
});

const nicView = ({ mac, unit, guest: { addresses, delegated } }: NicPlacement) => ({
  ...{ mac, unit, addresses },
  ...(delegated.length === 0 ? {} : { delegated }),
});

export const toView = (
  row: VmRow,
  vm: Vm,
  live: Live,
  operation: Operation | undefined,
  downgraded: string | undefined,
): VmView => {
  const state = stateOf(live, row.trouble, operation);
  // A stop may be stuck before it came to the VM itself.
  const isTold = state === 'failed' || row.trouble?.kind === 'stuck';
  const reason =
    row.trouble?.reason ?? (state === 'failed' ? 'its process is gone and its jail is not cleaned up yet' : undefined);
  return {
    name: row.name,
    state,
    ...marksOf(row.spec.unconfined, downgraded, operation),
    ...(isTold && reason !== undefined ? { reason } : {}),
    ...(live.pid === undefined ? {} : { pid: live.pid, supervised: live.supervised }),
    ...(live.sinceMs === undefined ? {} : { sinceMs: live.sinceMs }),
    ...(live.rssBytes === undefined ? {} : { rssBytes: live.rssBytes }),
    cpus: row.spec.cpus,
    memoryBytes: row.spec.memory,
    uid: vm.place.uid,
    nics: row.spec.nics.flatMap(({ network, mode }, i) => {
      const nic = vm.place.nics[i];
      return nic ? [{ network, mode, ...nicView(nic) }] : [];
    }),
    autostart: row.spec.autostart,
    labels: row.spec.labels,
    ...originOf(row.spec),
    ...(row.lastEnd === undefined ? {} : { lastEnd: row.lastEnd }),
    ...(row.trouble?.left ? { left: row.trouble.left } : {}),
    createdMs: row.createdMs,
  };
};

/** What hooks are told of a VM. Shape is stable. */
export const toTold = ({ spec }: VmRow, { place: { nics } }: Vm) => ({
  ...(spec.owner === undefined ? {} : { owner: spec.owner }),
  labels: spec.labels,
  networks: [...new Set(nics.map(({ network }) => network.name))],
  nics: nics.map(({ network, unit, mac, guest }) => ({
    ...{ network: network.name, unit, mac, addresses: guest.addresses },
  })),
});
