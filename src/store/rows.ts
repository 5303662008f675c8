import type { Step } from '../base/step.ts';
import type { VmSpec } from '../spec/vm.ts';
import type { Leased, NicLease } from './leases.ts';
import type { AddressLease } from './networks.ts';
import type { SnapshotRow } from './snapshots.ts';

/** What a person last asked for; the difference to what is seen is a finding. */
export type Intent = 'stopped' | 'running';

/** One step that could not be taken back. What an older brig wrote says less. */
interface Left {
  readonly op?: 'apply' | 'undo' | 'repair';
  readonly step: string;
  readonly because?: string;
  readonly commands: readonly string[];
}

/** Why a VM is not what was asked for. */
export interface Trouble {
  readonly kind: 'failed' | 'stuck';
  /** What was under way. */
  readonly verb?: string;
  readonly reason: string;
  /** stuck: what is left, with the commands that would remove it. */
  readonly left?: readonly Left[];
  readonly atMs: number;
}

/** How the last run ended. */
export interface LastEnd {
  /** For people: `power-off`, `signal 9`. */
  readonly exit: string;
  /** operator, guest, crash or host. */
  readonly cause: string;
  readonly atMs: number;
  /** Absent in what an older brig wrote. */
  readonly run?: string;
}

/** A defined VM as the store has it. */
export interface VmRow {
  readonly name: string;
  readonly spec: VmSpec;
  readonly slot: number;
  /** A name in vmm(4) that nobody can guess. */
  readonly secretName: string;
  /** One for each NIC of the spec, in order. */
  readonly nics: readonly NicLease[];
  /** Of all its NICs; a network without subnets has none. */
  readonly addresses: readonly AddressLease[];
  readonly intent: Intent;
  /** Id of the last run. */
  readonly run: string;
  readonly trouble: Trouble | undefined;
  readonly lastEnd: LastEnd | undefined;
  readonly createdMs: number;
}

/** A change that has begun: durable before its first effect, gone when it is done or undone. */
export interface SagaRow {
  readonly id: string;
  readonly vm: string;
  readonly verb: string;
  readonly run: string;
  readonly steps: readonly Step[];
  readonly startedMs: number;
  /** Of the brigd that began it. */
  readonly epoch: number;
  readonly pending?: Pending;
}

/** What a change makes of the store when it is done. */
export interface Pending {
  /** The VM's new document. */
  readonly spec?: VmSpec;
  readonly add?: SnapshotRow;
  /** Name of a snapshot. */
  readonly remove?: string;
}

export interface EventRow {
  readonly seq: number;
  readonly atMs: number;
  readonly vm: string | undefined;
  /** `vm.running`, `step.started`, ...: see docs/brigd.8. */
  readonly kind: string;
  /** operator, guest, crash, host or brigd. */
  readonly cause: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** What brig found about a VM that is not as it made it, and has not gone since. */
export interface FindingRow {
  readonly vm: string;
  /** Tells the findings of a VM apart. */
  readonly key: string;
  /** The kind of step, or `stray`. */
  readonly step: string;
  readonly because: string;
  /** open: only told, by the node's policy; refused: brig cannot mend it, and why. */
  readonly state: 'open' | 'refused';
  readonly reason?: string;
  /** What would mend it. */
  readonly commands: readonly string[];
  readonly sinceMs: number;
}

export type Row = Record<string, string | number | null>;

export const fromVmRow = (row: Row, { slot, nics }: Leased, addresses: readonly AddressLease[]): VmRow => ({
  name: String(row.name),
  spec: JSON.parse(String(row.spec)) as VmSpec,
  slot,
  secretName: `b${String(row.secret)}`,
  nics,
  addresses,
  intent: row.intent === 'running' ? 'running' : 'stopped',
  run: String(row.run),
  trouble: row.trouble === null ? undefined : (JSON.parse(String(row.trouble)) as Trouble),
  lastEnd: row.last_end === null ? undefined : (JSON.parse(String(row.last_end)) as LastEnd),
  createdMs: Number(row.created_ms),
});

export const fromSagaRow = (row: Row): SagaRow => ({
  id: String(row.id),
  vm: String(row.vm),
  verb: String(row.verb),
  run: String(row.run),
  steps: JSON.parse(String(row.steps)) as Step[],
  startedMs: Number(row.started_ms),
  epoch: Number(row.epoch),
  ...(row.pending === null ? {} : { pending: JSON.parse(String(row.pending)) as Pending }),
});

export const fromFindingRow = (row: Row): FindingRow => ({
  vm: String(row.vm),
  key: String(row.key),
  step: String(row.step),
  because: String(row.because),
  state: row.state === 'refused' ? 'refused' : 'open',
  ...(row.reason === null ? {} : { reason: String(row.reason) }),
  commands: JSON.parse(String(row.commands)) as string[],
  sinceMs: Number(row.since_ms),
});

export const fromEventRow = (row: Row): EventRow => ({
  seq: Number(row.seq),
  atMs: Number(row.at_ms),
  vm: row.vm === null ? undefined : String(row.vm),
  kind: String(row.kind),
  cause: String(row.cause),
  data: JSON.parse(String(row.data)) as Record<string, unknown>,
});
