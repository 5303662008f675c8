import { BrigError } from '../base/errors.ts';
import { renderBytes } from '../base/units.ts';
import type { Config } from '../spec/config.ts';
import type { VmSpec } from '../spec/vm.ts';
import type { Store } from '../store/store.ts';
import type { Pending, VmRow } from '../store/rows.ts';

/** Sizes of a VM's own disks. Units: bytes. */
export const diskBytes = ({ disks }: Pick<VmSpec, 'disks'>): number[] =>
  disks.flatMap((disk) => ('zvol' in disk ? [disk.zvol.size] : 'file' in disk ? [disk.file.size] : []));

/** What an owner's VMs may have together, whether they run or not, and how it is said. */
const KINDS = {
  vms: { what: 'VMs', render: String },
  cpus: { what: 'CPUs', render: String },
  memory: { what: 'of memory', render: renderBytes },
  disk: { what: 'of disks', render: renderBytes },
  addresses: { what: 'addresses', render: String },
  snapshots: { what: 'snapshots', render: String },
} as const;
type Kind = keyof typeof KINDS;
const ORDER = Object.keys(KINDS) as Kind[];

type Amounts = Readonly<Record<Kind, number>>;

/** Of one owner. Units: memory and disk in bytes. Shape is stable: keys are added, never changed. */
export interface QuotaView {
  readonly owner: string;
  readonly used: Amounts;
  /** Absent: as much as there is. */
  readonly most: Partial<Amounts>;
}

const NOTHING: Amounts = { vms: 0, cpus: 0, memory: 0, disk: 0, addresses: 0, snapshots: 0 };

/** Of a VM without its snapshots. */
const amountsOf = (spec: VmSpec, addresses: number): Amounts => ({
  ...NOTHING,
  vms: 1,
  cpus: spec.cpus,
  memory: spec.memory,
  disk: diskBytes(spec).reduce((all, bytes) => all + bytes, 0),
  addresses,
});

const combine = (a: Amounts, b: Amounts, how: (a: number, b: number) => number): Amounts =>
  Object.fromEntries(ORDER.map((kind) => [kind, how(a[kind], b[kind])])) as unknown as Amounts;

const add = (a: Amounts, b: Amounts): Amounts => combine(a, b, (x, y) => x + y);

/** As it is, or as what is under way makes it: whichever is more. */
const amountsOfRow = ({ spec, addresses }: VmRow, { spec: pending = spec }: Pending): Amounts =>
  combine(amountsOf(spec, addresses.length), amountsOf(pending, addresses.length), Math.max);

/** What is under way of each VM, all of it together. */
const underWay = (store: Store): ReadonlyMap<string, Pending> => {
  const all = new Map<string, Pending>();
  for (const { vm, pending } of store.listSagas()) all.set(vm, { ...all.get(vm), ...pending });
  return all;
};

/** `except`: a VM of which only the snapshots count. */
const usedBy = (owner: string, store: Store, except?: string): Amounts => {
  const all = underWay(store);
  return [...store.vmsOf(owner)]
    .flatMap((name) => store.findVm(name) ?? [])
    .map((row) => {
      const pending = all.get(row.name) ?? {};
      const snapshots = store.snapshots.count(row.name) + (pending.add ? 1 : 0);
      return { ...(row.name === except ? NOTHING : amountsOfRow(row, pending)), snapshots };
    })
    .reduce(add, NOTHING);
};

type Quotas = Pick<Config, 'quotas'>;

/** An owner's own; without one what everybody may have. */
const mostOf = (owner: string, { quotas }: Quotas): QuotaView['most'] => {
  const most = Object.hasOwn(quotas, owner) ? quotas[owner] : quotas['*'];
  return Object.fromEntries(Object.entries(most ?? {}).filter(([, value]) => value !== undefined));
};

export const quotaOf = (owner: string, store: Store, config: Quotas): QuotaView => ({
  owner,
  used: usedBy(owner, store),
  most: mostOf(owner, config),
});

const renderAmount = (kind: Kind, amount: number): string => `${KINDS[kind].render(amount)} ${KINDS[kind].what}`;

/** Who asks for what. */
interface Wanted {
  readonly verb: string;
  readonly spec: VmSpec;
  readonly own: Amounts;
}

const check = ({ verb, spec: { name, owner }, own }: Wanted, used: () => Amounts, config: Quotas): void => {
  const most = owner === undefined ? {} : mostOf(owner, config);
  if (owner === undefined || Object.keys(most).length === 0) return;
  const all = add(used(), own);
  const over = ORDER.find((kind) => own[kind] > 0 && all[kind] > (most[kind] ?? Infinity));
  if (!over) return;
  throw new BrigError(
    'vm.blocked',
    `${verb} ${name}: blocked: expected at most ${renderAmount(over, most[over] ?? 0)} for ${owner}, got ${renderAmount(over, all[over])} with this`,
    { retry: 'operator', hint: 'destroy what is not needed, or raise quotas in brig.yaml' },
  );
};

/**
 * Refuses a VM that would give its owner more than this node allows; what is under way counts as if it were done.
 * Nothing may be waited for between this and what the store is told. Errors: vm.blocked.
 */
export const checkQuota = (verb: string, spec: VmSpec, addresses: number, store: Store, config: Quotas): void => {
  const own = amountsOf(spec, addresses);
  check({ verb, spec, own }, () => usedBy(spec.owner ?? '', store, spec.name), config);
};

/** The same of one more snapshot: what its VM is counts already. */
export const checkSnapshotQuota = (spec: VmSpec, store: Store, config: Quotas): void => {
  check({ verb: 'snapshot', spec, own: { ...NOTHING, snapshots: 1 } }, () => usedBy(spec.owner ?? '', store), config);
};
