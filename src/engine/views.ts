import { LIMITS } from '../base/limits.ts';
import type { Platform } from '../platform/platform.ts';
import type { Config } from '../spec/config.ts';
import type { Store } from '../store/store.ts';
import type { VmRow } from '../store/rows.ts';
import type { Looks } from './looks.ts';
import type { Operations } from './operation.ts';
import { place } from './place.ts';
import { toView, type VmView } from './view.ts';

export interface ViewsOptions<Seen> {
  readonly platform: Platform<Seen>;
  readonly store: Store;
  readonly config: Config;
  readonly operations: Operations;
  readonly looks: Looks<Seen>;
}

/** What people are told of the VMs: as the host is, or was a moment ago. */
export class Views<Seen> {
  readonly #o: ViewsOptions<Seen>;
  readonly #texts = new WeakMap<object, { readonly stamp: string; readonly json: Buffer }>();

  constructor(options: ViewsOptions<Seen>) {
    this.#o = options;
  }

  of(row: VmRow, seen: Seen): VmView {
    const { platform, config, operations, store } = this.#o;
    const vm = place(row, { config, networks: store.networks });
    return toView(row, vm, platform.live(seen, vm), operations.find(row.name), platform.reduced());
  }

  async list(): Promise<VmView[]> {
    return this.#all(await this.#recent());
  }

  /** Of these alone: what others there are costs nothing. */
  async some(rows: readonly VmRow[]): Promise<VmView[]> {
    const seen = await this.#recent();
    return rows.map((row) => this.of(row, seen));
  }

  /** The same as JSON: made once for all who ask before anything changes. */
  async listJson(): Promise<Buffer> {
    const { store, operations } = this.#o;
    const seen = await this.#recent();
    const stamp = `${store.version} ${store.networks.version} ${operations.version}`;
    const known = this.#texts.get(seen as object);
    if (known?.stamp === stamp) return known.json;
    const json = Buffer.from(`${JSON.stringify(this.#all(seen))}\n`);
    this.#texts.set(seen as object, { stamp, json });
    return json;
  }

  #recent(): Promise<Seen> {
    return this.#o.looks.recent(LIMITS.lookMaxAgeMs);
  }

  #all(seen: Seen): VmView[] {
    return this.#o.store.listVms().map((row) => this.of(row, seen));
  }
}
