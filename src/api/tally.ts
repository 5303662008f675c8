import type { NewEntry } from '../acl/chain.ts';
import { LIMITS } from '../base/limits.ts';
import type { Ledger } from './ledger.ts';

interface Told {
  last: NewEntry;
  count: number;
}

/**
 * Requests that were refused before anybody looked at what they ask for: whoever sends them without end fills no disk.
 * The first is written down as it is, and after a while how many more came.
 */
export class Tally {
  readonly #ledger: Pick<Ledger, 'append'>;
  readonly #told = new Map<string, Told>();

  constructor(ledger: Pick<Ledger, 'append'>) {
    this.#ledger = ledger;
  }

  /** `from`: whose they are, or where they come from. */
  add(from: string, entry: NewEntry): void {
    const key = this.#told.has(from) || this.#told.size < LIMITS.refusedKnown ? from : '';
    const told = this.#told.get(key);
    if (told) [told.last, told.count] = [entry, told.count + 1];
    else {
      this.#write(entry);
      this.#told.set(key, { last: entry, count: 0 });
      setTimeout(() => this.#end(key), LIMITS.refusedToldMs).unref();
    }
  }

  #end(key: string): void {
    const { last, count } = this.#told.get(key) as Told;
    this.#told.delete(key);
    if (count > 0) this.#write({ ...last, data: { more: count } });
  }

  #write(entry: NewEntry): void {
    void this.#ledger.append(entry).catch(() => 0);
  }
}
