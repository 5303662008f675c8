import type { SQLInputValue, StatementSync } from 'node:sqlite';
import type { Consistency, SnapshotKind } from '../spec/snapshot.ts';
import type { VmSpec } from '../spec/vm.ts';
import type { Row } from './rows.ts';

/** A snapshot of a VM as the store has it. */
export interface SnapshotRow {
  readonly vm: string;
  readonly name: string;
  readonly createdMs: number;
  readonly kind: SnapshotKind;
  readonly consistency: Consistency;
  /** The VM's document at that moment. */
  readonly spec: VmSpec;
}

const fromRow = (row: Row): SnapshotRow => ({
  vm: String(row.vm),
  name: String(row.name),
  spec: JSON.parse(String(row.spec)) as VmSpec,
  kind: String(row.kind) as SnapshotRow['kind'],
  consistency: row.consistency === 'stopped' ? 'stopped' : 'crash',
  createdMs: Number(row.created_ms),
});

/** The table of snapshots. A VM's come in the order in which they were made. */
export class Snapshots {
  readonly #sql: (text: string) => StatementSync;

  constructor(sql: (text: string) => StatementSync) {
    this.#sql = sql;
  }

  #all(text: string, ...values: SQLInputValue[]): SnapshotRow[] {
    return (this.#sql(text).all(...values) as Row[]).map(fromRow);
  }

  of(vm: string): SnapshotRow[] {
    return this.#all('select * from snapshots where vm = ? order by seq', vm);
  }

  count(vm: string): number {
    return Number((this.#sql('select count(*) as n from snapshots where vm = ?').get(vm) as Row).n);
  }

  find(vm: string, name: string): SnapshotRow | undefined {
    return this.#all('select * from snapshots where vm = ? and name = ?', vm, name)[0];
  }

  add({ vm, name, spec, kind, consistency, createdMs }: SnapshotRow): void {
    this.#sql('insert into snapshots values (null, ?, ?, ?, ?, ?, ?)').run(
      ...[vm, name, JSON.stringify(spec), kind, consistency, createdMs],
    );
  }

  remove(vm: string, name: string): void {
    this.#sql('delete from snapshots where vm = ? and name = ?').run(vm, name);
  }

  removeAll(vm: string): void {
    this.#sql('delete from snapshots where vm = ?').run(vm);
  }

  /** When the last of a kind was made. */
  last(vm: string, kind: SnapshotRow['kind']): number | undefined {
    const row = this.#sql('select max(created_ms) as last from snapshots where vm = ? and kind = ?').get(
      vm,
      kind,
    ) as Row;
    return row.last === null ? undefined : Number(row.last);
  }
}
