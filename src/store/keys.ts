import type { SQLInputValue, StatementSync } from 'node:sqlite';
import type { Row } from './rows.ts';

/** A key of somebody elsewhere. One that was revoked stays, so that nobody adds it again. */
export interface KeyRow {
  readonly name: string;
  /** 32 bytes. */
  readonly public: Uint8Array;
  /** The user whose rights it has beside its own. */
  readonly owner: string | undefined;
  /** Who added it. */
  readonly by: string;
  readonly createdMs: number;
  readonly expiresMs: number | undefined;
  readonly revokedMs: number | undefined;
}

const numberOf = (value: unknown): number | undefined => (value === null ? undefined : Number(value));

const fromRow = (row: Row): KeyRow => ({
  name: String(row.name),
  public: new Uint8Array(row.public as unknown as Uint8Array),
  owner: row.owner === '' ? undefined : String(row.owner),
  by: String(row.by),
  createdMs: Number(row.created_ms),
  expiresMs: numberOf(row.expires_ms),
  revokedMs: numberOf(row.revoked_ms),
});

/** The table of keys. What is written stays written when the power goes: a key that was revoked does not come back. */
export class Keys {
  readonly #sql: (text: string) => StatementSync;
  readonly #durably: (work: () => void) => void;

  constructor(sql: (text: string) => StatementSync, durably: (work: () => void) => void) {
    this.#sql = sql;
    this.#durably = durably;
  }

  #write(text: string, ...values: SQLInputValue[]): void {
    this.#durably(() => void this.#sql(text).run(...values));
  }

  /** By name. */
  list(): KeyRow[] {
    return (this.#sql('select * from keys order by name').all() as Row[]).map(fromRow);
  }

  /** The name and the public half of no other row. */
  add({ name, public: bytes, owner, by, createdMs, expiresMs, revokedMs }: KeyRow): void {
    this.#write(
      'insert into keys values (?, ?, ?, ?, ?, ?, ?)',
      ...[name, bytes, owner ?? '', by, createdMs, expiresMs ?? null, revokedMs ?? null],
    );
  }

  setExpiry(name: string, expiresMs: number | undefined): void {
    this.#write('update keys set expires_ms = ? where name = ?', expiresMs ?? null, name);
  }

  setRevoked(name: string, revokedMs: number): void {
    this.#write('update keys set revoked_ms = ? where name = ?', revokedMs, name);
  }
}
