import type { StatementSync } from 'node:sqlite';
import { LIMITS } from '../base/limits.ts';
import type { Row } from './rows.ts';

/** What a request that may come again was answered; without a status it is not over. */
export interface AnswerRow {
  /** What was asked for, as a digest: the same key for something else is a mistake. */
  readonly request: string;
  readonly status: number | undefined;
  readonly body: string;
}

type Sql = (text: string) => StatementSync;

/** Answers by principal and Idempotency-Key. */
export class Answers {
  readonly #sql: Sql;

  /** What an earlier brigd did not answer was undone, or is found by asking: it may be asked for again. */
  constructor(sql: Sql) {
    this.#sql = sql;
    this.#sql('delete from answers where status is null').run();
  }

  find(principal: string, key: string): AnswerRow | undefined {
    const row = this.#sql('select * from answers where principal = ? and key = ?').get(principal, key) as
      Row | undefined;
    if (!row) return undefined;
    return {
      request: String(row.request),
      status: row.status === null ? undefined : Number(row.status),
      body: String(row.body ?? ''),
    };
  }

  begin(principal: string, key: string, request: string, nowMs: number): void {
    this.#sql('delete from answers where created_ms < ?').run(nowMs - LIMITS.answersKeptMs);
    // Of one who asks for more than that within a day, the oldest are forgotten.
    this.#sql(
      `delete from answers where principal = ?1 and created_ms <=
         (select created_ms from answers where principal = ?1 order by created_ms desc limit 1 offset ?2)`,
    ).run(principal, LIMITS.answersKept);
    this.#sql('insert into answers values (?, ?, ?, null, null, ?)').run(principal, key, request, nowMs);
  }

  end(principal: string, key: string, status: number, body: string): void {
    this.#sql('update answers set status = ?, body = ? where principal = ? and key = ?').run(
      status,
      body,
      principal,
      key,
    );
  }

  /** What came to nothing may be tried again. */
  forgetOpen(principal: string, key: string): void {
    this.#sql('delete from answers where principal = ? and key = ? and status is null').run(principal, key);
  }
}
