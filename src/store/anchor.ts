import type { StatementSync } from 'node:sqlite';

/** The table of one row: an entry of the audit log that is known to be on the disk. */
export class AnchorRow {
  readonly #sql: (text: string) => StatementSync;

  constructor(sql: (text: string) => StatementSync) {
    this.#sql = sql;
  }

  get(): { readonly seq: number; readonly hash: string } | undefined {
    const row = this.#sql('select seq, hash from anchor').get();
    return row && { seq: Number(row.seq), hash: String(row.hash) };
  }

  put({ seq, hash }: { readonly seq: number; readonly hash: string }): void {
    this.#sql(
      'insert into anchor values (1, ?, ?) on conflict do update set seq = excluded.seq, hash = excluded.hash',
    ).run(seq, hash);
  }
}
