import type { Principal } from '../acl/principal.ts';
import type { Ledger } from '../api/ledger.ts';
import { Tally } from '../api/tally.ts';
import { toErrorBody } from '../base/errors.ts';
import { escapeControls } from '../base/units.ts';
import { blockOf } from './addresses.ts';

/** As far as anybody knows by then. */
export type Refused = Pick<Principal, 'id' | 'from'>;
/** Whose socket it was is nobody any more. */
export const NOBODY: Refused = { id: 'nobody', from: 'unix' };

/** What comes in by a door and is refused there, before the API asks what it is; in the audit log all the same. */
export class Refusals {
  readonly #tally: Tally;

  constructor(ledger: Pick<Ledger, 'append'>) {
    this.#tally = new Tally(ledger);
  }

  /** `what`: method and path, where there are any. */
  readonly tell = ({ id, from }: Refused, error: unknown, what = 'none', object = 'node'): void => {
    const { code, message } = toErrorBody(error);
    const verb = escapeControls((what.split('?')[0] ?? '').slice(0, 100));
    const entry = { who: id, from, verb, object, rule: message, result: code } as const;
    // One reason hides no other; what comes after these words its sender may have chosen.
    const reason = message.split(' ', 3).join(' ');
    this.#tally.add(`${id} ${blockOf(from)} ${reason}`, { ...entry, phase: 'told', decision: 'deny' });
  };
}
