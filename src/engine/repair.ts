import type { Step } from '../base/step.ts';
import { LIMITS } from '../base/limits.ts';
import { messageOf } from '../base/errors.ts';
import type { Depth, Live, Platform, Vm } from '../platform/platform.ts';
import { renderEffect } from '../saga/render.ts';
import { definitionOf, holdsOf, planRepair } from '../saga/run.ts';
import type { VmRow } from '../store/store.ts';
import type { Changes } from './changes.ts';

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

/** Steps of a running VM: with what outlives the run, and without. */
interface Parts {
  readonly all: readonly Step[];
  readonly ofRun: readonly Step[];
}

/** Finds and mends what people changed by hand, while the guest runs on. */
export class Repairs<Seen> {
  readonly #o: RepairOptions<Seen>;
  /** What the store's row of a VM comes to: the same for every pass, until the row is another. */
  readonly #parts = new WeakMap<VmRow, Parts>();

  constructor(options: RepairOptions<Seen>) {
    this.#o = options;
  }

  #steps(vm: Vm, row: VmRow): Parts {
    let parts = this.#parts.get(row);
    if (!parts) {
      const { platform } = this.#o;
      const ofRun = platform.startSteps(vm, row.run, 0);
      this.#parts.set(row, (parts = { all: [...platform.createSteps(vm), ...ofRun], ofRun }));
    }
    return parts;
  }

  /** Keys of what does not hold in an observation of the whole host. */
  broken(vm: Vm, row: VmRow, seen: Seen, depth: Depth): string[] {
    const { all, ofRun } = this.#steps(vm, row);
    return this.#broken(depth === 'all' ? all : ofRun, seen).map((step) => this.#key(step));
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
    const steps = this.#steps(vm, row).all;
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
    const steps = this.#steps(vm, row).all;
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
    if (refusal !== undefined) return { ...found, state: 'refused', reason: refusal };
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
