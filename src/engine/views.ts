import { LIMITS } from '../base/limits.ts';
import type { Platform } from '../platform/platform.ts';
import type { Store } from '../store/store.ts';
import type { VmRow } from '../store/rows.ts';
import type { Looks } from './looks.ts';
import type { Operations } from './operation.ts';
import { place, type Places } from './place.ts';
import { toView, type VmView } from './view.ts';

export interface ViewsOptions<Seen> {
  readonly platform: Platform<Seen>;
  readonly store: Store;
  readonly places: Places;
  readonly operations: Operations;
  readonly looks: Looks<Seen>;
}

/** The least of a VM. */
export type VmState = Pick<VmView, 'name' | 'state' | 'rssBytes'>;

export const stateOnly = ({ name, state, rssBytes }: VmView): VmState => ({
  ...{ name, state },
  ...(rssBytes === undefined ? {} : { rssBytes }),
});

interface Made {
  readonly stamp: string;
  json?: Buffer;
  states?: readonly VmState[];
}

/** What people are told of the VMs: as the host is, or was a moment ago. */
export class Views<Seen> {
  readonly #o: ViewsOptions<Seen>;
  readonly #made = new WeakMap<object, Made>();

  constructor(options: ViewsOptions<Seen>) {
    this.#o = options;
  }

  of(row: VmRow, seen: Seen): VmView {
    const { platform, places, operations } = this.#o;
    const vm = place(row, places);
    return toView(row, vm, platform.live(seen, vm), operations.find(row.name), platform.reduced());
  }

  /** Of these alone: what others there are costs nothing. */
  async some(rows: readonly VmRow[]): Promise<VmView[]> {
    const seen = await this.#recent();
    return rows.map((row) => this.of(row, seen));
  }

  /** The same as JSON: made once for all who ask before anything changes. */
  async listJson(): Promise<Buffer> {
    const seen = await this.#recent();
    const made = this.#madeOf(seen);
    return (made.json ??= Buffer.from(`${JSON.stringify(this.#all(seen))}\n`));
  }

  /** What each VM is doing, and nothing else of it: made as often. */
  async states(): Promise<readonly VmState[]> {
    const seen = await this.#recent();
    const made = this.#madeOf(seen);
    return (made.states ??= this.#all(seen).map(stateOnly));
  }

  /** What was made of an observation, unless something changed since. */
  #madeOf(seen: Seen): Made {
    const { store, operations } = this.#o;
    const stamp = `${store.version} ${store.networks.version} ${operations.version}`;
    const known = this.#made.get(seen as object);
    if (known?.stamp === stamp) return known;
    const made: Made = { stamp };
    this.#made.set(seen as object, made);
    return made;
  }

  #recent(): Promise<Seen> {
    return this.#o.looks.recent(LIMITS.lookMaxAgeMs);
  }

  #all(seen: Seen): VmView[] {
    return this.#o.store.listVms().map((row) => this.of(row, seen));
  }
}
