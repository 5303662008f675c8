import type { SQLInputValue, StatementSync } from 'node:sqlite';
import type { Row } from './rows.ts';

/** A rule as it is kept; what its words mean is the business of room acl. */
export interface GrantRow {
  readonly principal: string;
  readonly role: string;
  readonly object: string;
  readonly by: string;
  readonly createdMs: number;
}

type Sql = (text: string) => StatementSync;

/**
 * Who may do what. Another `version` whenever a rule comes or goes. What is written stays written when the power goes: a
 * rule that was taken back does not come back.
 */
export class Grants {
  readonly #sql: Sql;
  readonly #durably: (work: () => void) => void;
  version = 0;
  #read: { readonly version: number; readonly rows: readonly GrantRow[] } | undefined;

  constructor(sql: Sql, durably: (work: () => void) => void) {
    this.#sql = sql;
    this.#durably = durably;
  }

  #run(text: string, ...values: SQLInputValue[]): boolean {
    let count = 0;
    this.#durably(() => (count = Number(this.#sql(text).run(...values).changes)));
    if (count > 0) this.version++;
    return count > 0;
  }

  /** False: it was there. What root says, too, is root's: it stays when whoever handed it on loses it. */
  add({ principal, role, object, by, createdMs }: GrantRow): boolean {
    const text = `insert into grants (principal, role, object, by, created_ms) values (?, ?, ?, ?, ?)
      on conflict (principal, object, role) do update set by = excluded.by, created_ms = excluded.created_ms
      where excluded.by = 'root' and grants.by <> 'root'`;
    return this.#run(text, principal, role, object, by, createdMs);
  }

  /** False: it was not there. */
  remove({ principal, role, object }: Pick<GrantRow, 'principal' | 'role' | 'object'>): boolean {
    return this.#run('delete from grants where principal = ? and role = ? and object = ?', principal, role, object);
  }

  /** Nothing of that name is there any more: the next one is another. */
  forget(object: string): void {
    this.#run('delete from grants where object = ?', object);
  }

  /** How many rules somebody made. */
  count(by: string): number {
    return Number(this.#sql('select count(*) as count from grants where by = ?').get(by)?.count);
  }

  /** Nobody else writes them: they are read again only after a change. */
  list(): readonly GrantRow[] {
    if (this.#read?.version !== this.version) this.#read = { version: this.version, rows: this.#rows() };
    return this.#read.rows;
  }

  #rows(): GrantRow[] {
    const rows = this.#sql('select * from grants order by principal, object, role').all() as Row[];
    return rows.map((row) => ({
      principal: String(row.principal),
      role: String(row.role),
      object: String(row.object),
      by: String(row.by),
      createdMs: Number(row.created_ms),
    }));
  }
}
