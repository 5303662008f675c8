import type { StatementSync } from 'node:sqlite';
import type { Row } from './rows.ts';

/** A secret as it is kept: sealed. */
export interface SecretRow {
  /** Empty: the node's own. */
  readonly owner: string;
  readonly name: string;
  readonly box: Uint8Array;
  /** Id of the key that it is sealed under. */
  readonly master: string;
  /** When it was last set. */
  readonly createdMs: number;
}

const fromRow = ({ owner, name, box, master, created_ms }: Row): SecretRow => ({
  owner: String(owner),
  name: String(name),
  box: box as unknown as Uint8Array,
  master: String(master),
  createdMs: Number(created_ms),
});

/** Secrets of all owners, sealed. Whatever is written is durable when it returns. */
export class SecretRows {
  readonly #sql: (text: string) => StatementSync;
  readonly #write: (work: () => void) => void;

  /** `write`: all of the work, or nothing, and durable. */
  constructor(sql: (text: string) => StatementSync, write: (work: () => void) => void) {
    this.#sql = sql;
    this.#write = write;
  }

  /** By owner and name. */
  list(): SecretRow[] {
    return (this.#sql('select * from secrets order by owner, name').all() as Row[]).map(fromRow);
  }

  names(owner: string): string[] {
    return (this.#sql('select name from secrets where owner = ?').all(owner) as Row[]).map(({ name }) => String(name));
  }

  find(owner: string, name: string): SecretRow | undefined {
    const row = this.#sql('select * from secrets where owner = ? and name = ?').get(owner, name) as Row | undefined;
    return row && fromRow(row);
  }

  /** Ids of the keys that anything is sealed under. */
  masters(): ReadonlySet<string> {
    const rows = this.#sql('select distinct master from secrets').all() as Row[];
    return new Set(rows.map(({ master }) => String(master)));
  }

  /** In the place of what had these names; all or nothing. */
  put(rows: readonly SecretRow[]): void {
    const insert = this.#sql('insert or replace into secrets values (?, ?, ?, ?, ?)');
    this.#write(() => {
      for (const { owner, name, box, master, createdMs } of rows) insert.run(owner, name, box, master, createdMs);
    });
  }

  remove(owner: string, name: string): void {
    this.#write(() => void this.#sql('delete from secrets where owner = ? and name = ?').run(owner, name));
  }
}
