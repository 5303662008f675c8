import type { Principal } from '../acl/principal.ts';

/** What the audit log is told of a request. */
export interface LedgerEntry {
  readonly who: string;
  readonly from: string;
  /** Shape: `POST /vms/{name}/start` */
  readonly verb: string;
  /** Shape: `vm:web` */
  readonly object: string;
  /** begin: let in, nothing is done yet; end: how it ended; told: something that was no request. */
  readonly phase: 'begin' | 'end' | 'told';
  readonly decision: 'allow' | 'deny';
  readonly rule: string;
  /** `ok`, or the code of an error. */
  readonly result?: string;
  readonly saga?: string;
  /** Of the entry that began it. */
  readonly of?: number;
}

/** Where requests are written down. */
export interface Ledger {
  /** `durable`: on the disk when it resolves. Answers the entry's number. */
  append(entry: LedgerEntry, options?: { readonly durable?: boolean }): Promise<number>;
}

/** What becomes known of a request while it is answered. */
export interface Note {
  object: string;
  rule: string;
  saga?: string;
  /** What began it. */
  of?: number;
}

export const entryOf = (
  who: Principal,
  verb: string,
  note: Note,
  rest: Pick<LedgerEntry, 'phase' | 'decision' | 'result'>,
): LedgerEntry => ({
  ...{ who: who.id, from: who.from, verb, object: note.object, rule: note.rule },
  ...(note.saga === undefined ? {} : { saga: note.saga }),
  ...(note.of === undefined ? {} : { of: note.of }),
  ...rest,
});
