import { LIMITS } from '../base/limits.ts';
import type { Anchor, AuditEntry, Break, NewEntry } from './chain.ts';

/** What a look through the whole audit log found. */
export type AuditReport =
  | {
      readonly ok: true;
      readonly files: number;
      readonly entries: number;
      /** Not 1 when older files were moved away. */
      readonly first: number;
      /** Lines that a loss of power or a full disk cut off, each told by the entry after it. */
      readonly torn: number;
      readonly head: Anchor;
    }
  | ({ readonly ok: false; readonly file: string } & Break);

/** Which entries somebody wants to see. */
export interface AuditFilter {
  readonly who?: string;
  readonly object?: string;
}

export const isWanted = ({ who, object }: AuditFilter, entry: AuditEntry): boolean =>
  (who === undefined || who === entry.who) && (object === undefined || object === entry.object);

/** The audit log: written by appending, in one order, and never changed. */
export interface AuditLog {
  /** The last entry that is written. */
  readonly head: Anchor;
  /**
   * Writes an entry, those of one turn of the loop together; answers its number.
   * `durable`: it is on the disk before the answer, as it must be before anything is changed.
   * Errors: store.failed, when nothing was written that counts.
   */
  append(entry: NewEntry, options?: { readonly durable?: boolean }): Promise<number>;
  /** After a number, oldest first, up to the last one that is written when it gets there. */
  entries(after: number): AsyncGenerator<AuditEntry>;
  /** Calls back after each entry; returns how to stop. */
  follow(listener: (entry: AuditEntry) => void): () => void;
  /** `head`: the hash of an entry that must be there, as somebody wrote it down. */
  verify(head?: string): Promise<AuditReport>;
}

/** A line of an entry for syslog(3), its number and hash first: what is cut is never these. Shape: printable ASCII. */
export const renderSyslog = (entry: AuditEntry): string => {
  const { seq, hash, who, from, verb, object, phase, decision, rule, result, saga, of } = entry;
  const fields = Object.entries({ seq, hash, who, from, object, phase, decision, result, of, saga, verb, rule });
  return fields
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${JSON.stringify(value).replaceAll(/[^ -~]/g, '?')}`)
    .join(' ')
    .slice(0, LIMITS.syslogLineBytes);
};
