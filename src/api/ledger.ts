import type { AuditLog } from '../acl/audit-log.ts';
import type { NewEntry } from '../acl/chain.ts';
import type { Principal } from '../acl/principal.ts';

/** Where requests are written down. */
export type Ledger = Pick<AuditLog, 'append' | 'entries' | 'follow' | 'head' | 'verify'>;

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
  rest: Pick<NewEntry, 'phase' | 'decision' | 'result'>,
): NewEntry => ({
  ...{ who: who.id, from: who.from, verb, object: note.object, rule: note.rule },
  ...(note.saga === undefined ? {} : { saga: note.saga }),
  ...(note.of === undefined ? {} : { of: note.of }),
  ...rest,
});
