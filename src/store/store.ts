import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import { BrigError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import type { Step } from '../base/step.ts';
import type { VmSpec } from '../spec/vm.ts';
import { Leases, type Leased, type NicLease } from './leases.ts';
import { openDatabase } from './schema.ts';

/** What a person last asked for; the difference to what is seen is a finding. */
export type Intent = 'stopped' | 'running';

/** Why a VM is not what was asked for. */
export interface Trouble {
  readonly kind: 'failed' | 'stuck';
  /** What was under way. */
  readonly verb?: string;
  readonly reason: string;
  /** stuck: what is left, with the commands that would remove it. */
  readonly left?: readonly { readonly step: string; readonly commands: readonly string[] }[];
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
}

export interface EventRow {
  readonly seq: number;
  readonly atMs: number;
  readonly vm: string | undefined;
  /** `vm.running`, `step.started`, ...: see docs/brig.1. */
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

type Row = Record<string, string | number | null>;

const fromVmRow = (row: Row, { slot, nics }: Leased): VmRow => ({
  name: String(row.name),
  spec: JSON.parse(String(row.spec)) as VmSpec,
  slot,
  secretName: `b${String(row.secret)}`,
  nics,
  intent: row.intent === 'running' ? 'running' : 'stopped',
  run: String(row.run),
  trouble: row.trouble === null ? undefined : (JSON.parse(String(row.trouble)) as Trouble),
  lastEnd: row.last_end === null ? undefined : (JSON.parse(String(row.last_end)) as LastEnd),
  createdMs: Number(row.created_ms),
});

const fromFindingRow = (row: Row): FindingRow => ({
  vm: String(row.vm),
  key: String(row.key),
  step: String(row.step),
  because: String(row.because),
  state: row.state === 'refused' ? 'refused' : 'open',
  ...(row.reason === null ? {} : { reason: String(row.reason) }),
  commands: JSON.parse(String(row.commands)) as string[],
  sinceMs: Number(row.since_ms),
});

const fromEventRow = (row: Row): EventRow => ({
  seq: Number(row.seq),
  atMs: Number(row.at_ms),
  vm: row.vm === null ? undefined : String(row.vm),
  kind: String(row.kind),
  cause: String(row.cause),
  data: JSON.parse(String(row.data)) as Record<string, unknown>,
});

/** The one file that remembers: specs, leases, journal, events. Errors: store.busy when another brigd has it. */
export class Store {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  readonly #leases: Leases;
  /** Counts the starts of brigd on this store: what an earlier epoch began, nobody is doing any more. */
  readonly epoch: number;
  /** Another one whenever something about a VM is written. */
  version = 0;
  #events = 0;
  #vms: Map<string, VmRow> | undefined;
  #sorted: VmRow[] | undefined;
  /** VMs by the digest of the image that they were made of. */
  readonly #users = new Map<string, number>();

  constructor(path: string) {
    this.#db = openDatabase(path);
    const { epoch, salt } = this.#sql('select epoch, salt from node').get() as { epoch: number; salt: string };
    this.epoch = epoch;
    this.#leases = new Leases((text) => this.#sql(text), epoch, salt);
  }

  close(): void {
    this.#db.close();
  }

  #sql(text: string): StatementSync {
    let statement = this.#statements.get(text);
    if (!statement) this.#statements.set(text, (statement = this.#db.prepare(text)));
    return statement;
  }

  #all(text: string, ...values: SQLInputValue[]): Row[] {
    return this.#sql(text).all(...values) as Row[];
  }

  #transaction<T>(work: () => T): T {
    this.#db.exec('begin immediate');
    try {
      const result = work();
      this.#db.exec('commit');
      return result;
    } catch (error) {
      this.#db.exec('rollback');
      throw error;
    }
  }

  /** By name. The same object until something about the VM changes, so that others can remember what they made of it. */
  listVms(): VmRow[] {
    this.#sorted ??= [...this.#rows().values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    return [...this.#sorted];
  }

  /** How many VMs were made of an image. */
  countUsers(digest: string): number {
    this.#rows();
    return this.#users.get(digest) ?? 0;
  }

  findVm(name: string): VmRow | undefined {
    return this.#rows().get(name);
  }

  /** Nobody else writes to the file: rows are parsed once. */
  #rows(): Map<string, VmRow> {
    if (this.#vms) return this.#vms;
    const leased = this.#leases.all();
    const rows = this.#all('select * from vms').map((row) => fromVmRow(row, leased(String(row.name))));
    for (const row of rows) this.#count(row, 1);
    return (this.#vms = new Map(rows.map((row) => [row.name, row])));
  }

  #count({ spec }: VmRow, by: number): void {
    const digest = spec.image?.digest;
    if (digest !== undefined) this.#users.set(digest, (this.#users.get(digest) ?? 0) + by);
  }

  /** Reads a VM again after something about it was written. */
  #reread(name: string): void {
    this.version++;
    const rows = this.#rows();
    const row = this.#sql('select * from vms where name = ?').get(name) as Row | undefined;
    const old = rows.get(name);
    if (old) this.#count(old, -1);
    rows.delete(name);
    if (row) {
      const fresh = fromVmRow(row, this.#leases.of(name));
      rows.set(name, fresh);
      this.#count(fresh, 1);
    }
    this.#sorted = undefined;
  }

  /**
   * Leases a slot and a unit for each NIC, remembers the spec, and begins the change that makes it, if given: all or nothing.
   * Errors: vm.exists; store.failed when none is left.
   */
  addVm(spec: VmSpec, nowMs: number, begin?: (row: VmRow) => void): VmRow {
    const add = (): void =>
      this.#transaction(() => {
        if (this.findVm(spec.name))
          throw new BrigError('vm.exists', `create ${spec.name}: a VM of this name exists`, {
            hint: `brig show ${spec.name}`,
          });
        this.#leases.lease(spec);
        this.#sql('insert into vms values (?, ?, ?, ?, null, null, ?, lower(hex(randomblob(16))))').run(
          spec.name,
          JSON.stringify(spec),
          'stopped',
          '',
          nowMs,
        );
        this.#reread(spec.name);
        begin?.(this.findVm(spec.name) as VmRow);
      });
    try {
      if (begin) this.#durably(add);
      else add();
    } finally {
      this.#reread(spec.name);
    }
    return this.findVm(spec.name) as VmRow;
  }

  removeVm(name: string): void {
    this.#transaction(() => {
      this.#leases.release(name);
      this.#sql('delete from findings where vm = ?').run(name);
      this.#sql('delete from vms where name = ?').run(name);
    });
    this.#reread(name);
  }

  setIntent(name: string, intent: Intent, run: string): void {
    this.#sql('update vms set intent = ?, run = ? where name = ?').run(intent, run, name);
    this.#reread(name);
  }

  setTrouble(name: string, trouble: Trouble | undefined): void {
    this.#sql('update vms set trouble = ? where name = ?').run(trouble ? JSON.stringify(trouble) : null, name);
    this.#reread(name);
  }

  setLastEnd(name: string, end: LastEnd): void {
    this.#sql('update vms set last_end = ? where name = ?').run(JSON.stringify(end), name);
    this.#reread(name);
  }

  /** Commits with all before it to the disk; what others write may be lost with the power, as the host's state is then. */
  #durably(work: () => void): void {
    // Within a transaction it is set already, and cannot be.
    if (this.#db.isTransaction) return work();
    this.#db.exec('pragma synchronous = full');
    try {
      work();
    } finally {
      this.#db.exec('pragma synchronous = normal');
    }
  }

  /** Durable when it returns: recovery needs the intent, and nothing else, to finish or undo. */
  beginSaga(saga: Omit<SagaRow, 'epoch'>): void {
    const { id, vm, verb, run, steps, startedMs } = saga;
    const insert = this.#sql('insert into sagas values (?, ?, ?, ?, ?, ?, ?)');
    this.#durably(() => void insert.run(id, vm, verb, run, JSON.stringify(steps), startedMs, this.epoch));
  }

  /**
   * `durably` where data hangs on it: a create that is over must not be taken back after a power cut.
   * A run does not survive one anyway.
   */
  endSaga(id: string, durably = false): void {
    const remove = (): void => void this.#sql('delete from sagas where id = ?').run(id);
    if (durably) this.#durably(remove);
    else remove();
  }

  listSagas(): SagaRow[] {
    return this.#all('select * from sagas order by started_ms').map((row) => ({
      id: String(row.id),
      vm: String(row.vm),
      verb: String(row.verb),
      run: String(row.run),
      steps: JSON.parse(String(row.steps)) as Step[],
      startedMs: Number(row.started_ms),
      epoch: Number(row.epoch),
    }));
  }

  /** A finding that is there already keeps its `sinceMs`. */
  putFinding({ vm, key, step, because, state, reason, commands, sinceMs }: FindingRow): void {
    this.#sql(
      `insert into findings values (?, ?, ?, ?, ?, ?, ?, ?)
       on conflict do update set state = excluded.state, reason = excluded.reason, commands = excluded.commands`,
    ).run(vm, key, step, because, state, reason ?? null, JSON.stringify(commands), sinceMs);
  }

  removeFinding(vm: string, key: string): void {
    this.#sql('delete from findings where vm = ? and key = ?').run(vm, key);
  }

  listFindings(): FindingRow[] {
    return this.#all('select * from findings order by vm, since_ms, key').map(fromFindingRow);
  }

  addEvent(event: Omit<EventRow, 'seq'>): EventRow {
    const { lastInsertRowid } = this.#sql(
      'insert into events (at_ms, vm, kind, cause, data) values (?, ?, ?, ?, ?)',
    ).run(event.atMs, event.vm ?? null, event.kind, event.cause, JSON.stringify(event.data));
    const seq = Number(lastInsertRowid);
    if (++this.#events % 1000 === 0) this.#sql('delete from events where seq <= ?').run(seq - LIMITS.eventsKept);
    return { ...event, seq };
  }

  /** Events after a cursor, oldest first. */
  listEvents(afterSeq: number, limit: number, vm?: string): EventRow[] {
    const rows =
      vm === undefined
        ? this.#all('select * from events where seq > ? order by seq limit ?', afterSeq, limit)
        : this.#all('select * from events where seq > ? and vm = ? order by seq limit ?', afterSeq, vm, limit);
    return rows.map(fromEventRow);
  }

  /** Of these kinds, since then, oldest first. */
  eventsSince(sinceMs: number, vm: string, kinds: readonly string[]): EventRow[] {
    const marks = kinds.map(() => '?').join(', ');
    return this.#all(
      `select * from events where vm = ? and at_ms > ? and kind in (${marks}) order by seq`,
      vm,
      sinceMs,
      ...kinds,
    ).map(fromEventRow);
  }

  /** The oldest that is kept. */
  firstEvent(): number | undefined {
    const { first } = this.#sql('select min(seq) as first from events').get() as { first: number | null };
    return first ?? undefined;
  }

  lastEvents(limit: number, vm: string): EventRow[] {
    return this.#all('select * from events where vm = ? order by seq desc limit ?', vm, limit)
      .map(fromEventRow)
      .reverse();
  }
}
