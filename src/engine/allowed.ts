import type { VmSpec } from '../spec/vm.ts';
import type { EventRow } from '../store/rows.ts';
import type { Store } from '../store/store.ts';

const namesIn = ({ nics }: VmSpec): string[] =>
  nics.flatMap(({ allow = [] }) => allow.flatMap(({ from }) => (typeof from === 'object' ? [from.vm] : [])));

/** Whose rules are others when a VM comes or goes that they let in by its name, or when their network has another document. */
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

  /** Running VMs whose rules are others since this event. */
  after({ kind, vm }: EventRow): string[] {
    if (vm === undefined) return [];
    if (kind === 'network.edited') return this.#on(vm.replace(/^network\//, ''));
    if (kind !== 'vm.created' && kind !== 'vm.destroyed') return [];
    const spec = this.#store.findVm(vm)?.spec;
    if (spec) this.#add(spec);
    return [...(this.#by.get(vm) ?? [])].filter((name) => this.#store.findVm(name)?.intent === 'running');
  }

  #on(network: string): string[] {
    const rows = this.#store.listVms().filter(({ intent }) => intent === 'running');
    return rows.filter(({ spec }) => spec.nics.some((nic) => nic.network === network)).map(({ name }) => name);
  }
}
