import type { Step } from '../base/step.ts';
import { LIMITS } from '../base/limits.ts';
import { messageOf } from '../base/errors.ts';
import type { Depth, Live, Platform, Vm } from '../platform/platform.ts';
import { renderEffect } from '../saga/render.ts';
import { definitionOf, holdsOf, planRepair } from '../saga/run.ts';
import type { VmRow } from '../store/rows.ts';
import type { Changes } from './changes.ts';
import { suspects } from './suspects.ts';

/** A part of a running VM that is not as brig made it, and what became of it. */
export interface Difference {
  /** Tells the parts of one VM apart. */
  readonly key: string;
  readonly step: string;
  /** What the part is for. */
  readonly because: string;
  /** open: brig would mend it; refused: it cannot, or did not come through; repaired: it holds again. */
  readonly state: 'open' | 'refused' | 'repaired';
  /** refused: why. */
  readonly reason?: string;
  /** What mends it, as a person would type it. */
  readonly commands: readonly string[];
}

export interface RepairOptions<Seen> {
  readonly platform: Platform<Seen>;
  readonly changes: Changes<Seen>;
  readonly live: (vm: Vm, seen: Seen) => Live;
}

/** Of a look at which nothing was missing: what it was based on. */
type Healthy = Partial<Record<Depth, readonly unknown[]>>;

const isEqual = (a: readonly unknown[], b: readonly unknown[]): boolean =>
  a.length === b.length && a.every((each, i) => each === b[i]);

/** Finds and mends what people changed by hand, while the guest runs on. */
export class Repairs<Seen> {
  readonly #o: RepairOptions<Seen>;
  /** Until the store's row is another. */
  readonly #healthy = new WeakMap<VmRow, Healthy>();

  constructor(options: RepairOptions<Seen>) {
    this.#o = options;
  }

  /** Of a running VM; `all`: with what outlives the run. */
  #steps(vm: Vm, row: VmRow, depth: Depth = 'all'): readonly Step[] {
    const { platform } = this.#o;
    return [...(depth === 'all' ? platform.createSteps(vm) : []), ...platform.startSteps(vm, row.run, 0)];
  }

  /** Keys of what does not hold in an observation of the whole host; nothing is worked out for what did not change. */
  broken(vm: Vm, row: VmRow, seen: Seen, depth: Depth): string[] {
    const basis = this.#o.platform.basis(seen, vm);
    const healthy = this.#healthy.get(row) ?? {};
    if (healthy[depth] && isEqual(healthy[depth], basis)) return [];
    const broken = this.#broken(this.#steps(vm, row, depth), seen).map((step) => this.#key(step));
    if (broken.length === 0) this.#healthy.set(row, { ...healthy, [depth]: basis });
    return broken;
  }

  #broken(steps: readonly Step[], seen: Seen): Step[] {
    return steps.filter((step) => holdsOf(this.#o.platform.catalogue, step, seen) !== 'yes');
  }

  #key(step: Step): string {
    return `${step.kind}: ${definitionOf(this.#o.platform.catalogue, step).because(step.args)}`;
  }

  #describe(step: Step, seen: Seen): Difference {
    const { catalogue } = this.#o.platform;
    const because = definitionOf(catalogue, step).because(step.args);
    const repair = planRepair(catalogue, step, seen);
    const base = { key: this.#key(step), step: step.kind, because };
    return 'restart' in repair
      ? { ...base, state: 'refused', reason: repair.restart, commands: [] }
      : { ...base, state: 'open', commands: repair.flatMap(renderEffect) };
  }

  /** Exact, and touches nothing; none for a VM that does not run. */
  async examine(vm: Vm, row: VmRow): Promise<Difference[]> {
    const steps = this.#steps(vm, row);
    const seen = await this.#o.changes.observe(vm, steps);
    if (this.#o.live(vm, seen).phase !== 'running') return [];
    return this.#broken(steps, seen).map((step) => this.#describe(step, seen));
  }

  /**
   * One part after the other, each by a look of its own: one repair changes what the next one needs.
   * For the VM's only operation.
   */
  async repair(vm: Vm, row: VmRow, mayRepair: (key: string) => string | undefined): Promise<Difference[]> {
    const { changes } = this.#o;
    const steps = this.#steps(vm, row);
    const results = new Map<string, Difference>();
    let seen = await changes.look(vm, steps);
    for (let round = 0; round < LIMITS.repairRounds && this.#o.live(vm, seen).phase === 'running'; round++) {
      const step = this.#broken(steps, seen).find((each) => !results.has(this.#key(each)));
      if (!step) break;
      const found = this.#describe(step, seen);
      results.set(found.key, found.state === 'open' ? await this.#mend(vm, step, seen, found, mayRepair) : found);
      seen = await changes.look(vm, steps);
    }
    return this.#verified([...results.values()], this.#broken(steps, seen));
  }

  async #mend(
    vm: Vm,
    step: Step,
    seen: Seen,
    found: Difference,
    mayRepair: (key: string) => string | undefined,
  ): Promise<Difference> {
    const refusal = mayRepair(found.key);
    if (refusal !== undefined) {
      const reason = `${refusal}; ${suspects(this.#o.platform.processes(seen), step.args)}`;
      return { ...found, state: 'refused', reason };
    }
    try {
      await this.#o.changes.run([{ op: 'repair', step }], vm, seen, 'brigd');
      return { ...found, state: 'repaired' };
    } catch (error) {
      return { ...found, state: 'refused', reason: messageOf(error) };
    }
  }

  /** What does not hold after all was not repaired, whatever its commands said. */
  #verified(results: Difference[], broken: readonly Step[]): Difference[] {
    const keys = new Set(broken.map((step) => this.#key(step)));
    return results.map((each) =>
      each.state === 'repaired' && keys.has(each.key)
        ? { ...each, state: 'refused', reason: 'its commands came through, and it is not there all the same' }
        : each,
    );
  }
}
