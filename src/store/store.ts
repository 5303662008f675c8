import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import { BrigError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import type { VmSpec } from '../spec/vm.ts';
import type { AttachmentSpec } from '../spec/attachment.ts';
import { AnchorRow } from './anchor.ts';
import { Answers } from './answers.ts';
import { Attachments, type AttachmentRow } from './attachments.ts';
import { Grants } from './grants.ts';
import { Keys } from './keys.ts';
import { Leases } from './leases.ts';
import { Networks } from './networks.ts';
import { openDatabase } from './schema.ts';
import {
  fromEventRow,
  fromFindingRow,
  fromSagaRow,
  fromVmRow,
  type EventRow,
  type FindingRow,
  type Intent,
  type LastEnd,
  type Row,
  type SagaRow,
  type Trouble,
  type VmRow,
} from './rows.ts';
import { SecretRows } from './secrets.ts';
import { Snapshots } from './snapshots.ts';

/** For whoever may make VMs: names are the node's. */
export const nameTaken = (name: string): BrigError =>
  new BrigError('vm.exists', `create ${name}: a VM of this name exists`, { hint: `brig show ${name}` });

/** The one file that remembers: specs, leases, journal, events. Errors: store.busy when another brigd has it. */
export class Store {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  readonly #leases: Leases;
  readonly snapshots: Snapshots;
  readonly networks: Networks;
  readonly attachments: Attachments;
  readonly grants: Grants;
  readonly answers: Answers;
  readonly anchor: AnchorRow;
  /** Of principals elsewhere. */
  readonly keys: Keys;
  readonly secrets: SecretRows;
  /** Counts the starts of brigd on this store: what an earlier epoch began, nobody is doing any more. */
  readonly epoch: number;
  /** Another one whenever something about a VM is written. */
  version = 0;
  #events = 0;
  #vms: Map<string, VmRow> | undefined;
  #sorted: VmRow[] | undefined;
  /** VMs by the digest of the image that they were made of. */
  readonly #users = new Map<string, number>();
  /** Names of VMs by `owner:NAME`, `tag:KEY` and `tag:KEY=VALUE`: whoever asks for few does not pay for all. */
  readonly #named = new Map<string, Set<string>>();

  constructor(path: string) {
    this.#db = openDatabase(path);
    const { epoch, salt } = this.#sql('select epoch, salt from node').get() as { epoch: number; salt: string };
    this.epoch = epoch;
    this.snapshots = new Snapshots((text) => this.#sql(text));
    this.#leases = new Leases((text) => this.#sql(text), epoch, salt);
    this.networks = new Networks((text) => this.#sql(text), epoch);
    this.grants = new Grants(
      (text) => this.#sql(text),
      (work) => this.#durably(work),
    );
    this.answers = new Answers((text) => this.#sql(text));
    this.anchor = new AnchorRow((text) => this.#sql(text));
    this.keys = new Keys(
      (text) => this.#sql(text),
      (work) => this.#durably(work),
    );
    this.attachments = new Attachments((text) => this.#sql(text), this.#leases, this.networks);
    const write = (work: () => void): void => this.#durably(() => this.#transaction(work));
    this.secrets = new SecretRows((text) => this.#sql(text), write);
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
      this.networks.settle(true);
      return result;
    } catch (error) {
      this.#db.exec('rollback');
      this.networks.settle(false);
      throw error;
    }
  }

  /** By name. The same object until something about the VM changes, so that others can remember what they made of it. */
  listVms(): VmRow[] {
    this.#sorted ??= [...this.#rows().values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    return [...this.#sorted];
  }

  names(): string[] {
    return this.listVms().map(({ name }) => name);
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
    const addressed = this.networks.allLeases();
    const rows = this.#all('select * from vms').map((row) => {
      const name = String(row.name);
      return fromVmRow(row, leased(name), addressed(name));
    });
    for (const row of rows) this.#count(row, 1);
    return (this.#vms = new Map(rows.map((row) => [row.name, row])));
  }

  #count({ name, spec }: VmRow, by: 1 | -1): void {
    const digest = spec.image?.digest;
    if (digest !== undefined) this.#users.set(digest, (this.#users.get(digest) ?? 0) + by);
    const keys = Object.entries(spec.labels).flatMap(([key, value]) => [`tag:${key}`, `tag:${key}=${value}`]);
    if (spec.owner !== undefined) keys.push(`owner:${spec.owner}`);
    for (const key of keys) this.#index(key, name, by);
  }

  #index(key: string, name: string, by: 1 | -1): void {
    const names = this.#named.get(key) ?? new Set();
    if (by === 1) this.#named.set(key, names.add(name));
    else if (names.delete(name) && names.size === 0) this.#named.delete(key);
  }

  /** Names of the VMs of an owner. */
  vmsOf(owner: string): ReadonlySet<string> {
    this.#rows();
    return this.#named.get(`owner:${owner}`) ?? new Set();
  }

  /** Names of the VMs with a label. Shape: `KEY`, `KEY=VALUE` */
  vmsWith(tag: string): ReadonlySet<string> {
    this.#rows();
    return this.#named.get(`tag:${tag}`) ?? new Set();
  }

  /** Whoever owns a VM. */
  owners(): string[] {
    this.#rows();
    return [...this.#named.keys()].flatMap((key) => (key.startsWith('owner:') ? [key.slice('owner:'.length)] : []));
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
      const fresh = fromVmRow(row, this.#leases.of(name), this.networks.leasesOf(name));
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
        if (this.findVm(spec.name)) throw nameTaken(spec.name);
        this.#leases.lease(spec);
        this.#leaseAddresses(spec, nowMs);
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

  #leaseAddresses({ name, owner, nics }: VmSpec, nowMs: number): void {
    const macs = this.#leases.of(name).nics;
    nics.forEach(({ network, addresses }, index) =>
      this.networks.lease({ holder: name, owner, index, network, addresses, mac: macs[index]?.mac ?? '' }, nowMs),
    );
  }

  removeVm(name: string): void {
    this.#transaction(() => {
      this.#leases.release(name);
      this.networks.release(name);
      this.#sql('delete from findings where vm = ?').run(name);
      this.snapshots.removeAll(name);
      this.grants.forget(`vm:${name}`);
      this.#sql('delete from sagas where vm = ?').run(name);
      this.#sql('delete from vms where name = ?').run(name);
    });
    this.#reread(name);
  }

  /** With the rules about it and what was under way: the next of that name is another. */
  removeNetwork(name: string): void {
    const remove = (): void =>
      this.#transaction(() => {
        this.networks.remove(name);
        this.grants.forget(`network:${name}`);
        this.#sql('delete from sagas where vm = ?').run(`network/${name}`);
      });
    this.#durably(remove);
  }

  /** A jail on a network, with its leases: all or nothing. Errors: those of Attachments.add. */
  attach(network: string, spec: AttachmentSpec, nowMs: number): AttachmentRow {
    try {
      this.#durably(() => this.#transaction(() => this.attachments.add(network, spec, nowMs)));
    } catch (error) {
      this.attachments.forget();
      throw error;
    }
    return this.attachments.find(network, spec.jail) as AttachmentRow;
  }

  detach(network: string, jail: string): void {
    this.#transaction(() => this.attachments.remove(network, jail));
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
    const { id, vm, verb, run, steps, startedMs, pending } = saga;
    const insert = this.#sql('insert into sagas values (?, ?, ?, ?, ?, ?, ?, ?)');
    const rest = pending ? JSON.stringify(pending) : null;
    this.#durably(() => void insert.run(id, vm, verb, run, JSON.stringify(steps), startedMs, this.epoch, rest));
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

  /** Ends a saga that is done, with what it makes of the store: both are there after a power cut, or neither. */
  commitSaga({ id, vm, pending = {} }: Pick<SagaRow, 'id' | 'vm' | 'pending'>): void {
    const { spec, add, remove } = pending;
    const commit = (): void =>
      this.#transaction(() => {
        if (spec) this.#sql('update vms set spec = ? where name = ?').run(JSON.stringify(spec), vm);
        if (add) this.snapshots.add(add);
        if (remove !== undefined) this.snapshots.remove(vm, remove);
        this.#sql('delete from sagas where id = ?').run(id);
      });
    this.#durably(commit);
    if (spec) this.#reread(vm);
  }

  /** The change of a VM that has not come through, if there is one of this kind. */
  findSaga(vm: string, verb: string): SagaRow | undefined {
    return this.#all('select * from sagas where vm = ? and verb = ?', vm, verb).map(fromSagaRow)[0];
  }

  listSagas(): SagaRow[] {
    return this.#all('select * from sagas order by started_ms').map(fromSagaRow);
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
