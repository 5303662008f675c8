import type { VmSpec } from '../spec/vm.ts';
import type { EventRow } from '../store/rows.ts';
import type { Store } from '../store/store.ts';

const namesIn = ({ nics }: VmSpec): string[] =>
  nics.flatMap(({ allow = [] }) => allow.flatMap(({ from }) => (typeof from === 'object' ? [from.vm] : [])));

/** Whose documents let whom in by name: their rules are others when that VM comes or goes. */
export class Allowed {
  readonly #store: Store;
  /** By the VM that is let in. */
  readonly #by = new Map<string, Set<string>>();

  constructor(store: Store) {
    this.#store = store;
    for (const { spec } of store.listVms()) this.#add(spec);
  }

  #add(spec: VmSpec): void {
    for (const name of namesIn(spec)) this.#by.set(name, (this.#by.get(name) ?? new Set()).add(spec.name));
  }

  /** Running VMs whose rules speak of other addresses since this event. */
  after({ kind, vm }: EventRow): string[] {
    if (vm === undefined || (kind !== 'vm.created' && kind !== 'vm.destroyed')) return [];
    const spec = this.#store.findVm(vm)?.spec;
    if (spec) this.#add(spec);
    return [...(this.#by.get(vm) ?? [])].filter((name) => this.#store.findVm(name)?.intent === 'running');
  }
}
