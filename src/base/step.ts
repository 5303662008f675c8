import type { Effect } from './host.ts';

/** Whether a step's resource is there: all of it, a part of it (undo has work), or nothing. */
export type Holds = 'no' | 'partly' | 'yes';

/** One change to one resource, as it is journalled: a kind of the platform's catalogue and its arguments. */
export interface Step {
  readonly kind: string;
  readonly args: unknown;
}

/** How a part of a running VM is made good: effects that the guest outlives, or in words why only a new start helps. */
export type Repair = readonly Effect[] | { readonly restart: string };

/** Data is never made anew behind anybody's back. */
export const DATA_GONE: Repair = {
  restart: 'its data was removed or renamed: put it back, for brig makes no empty one in its place',
};

/**
 * What a kind of step means. `Seen` is the platform's observation.
 * `undo` makes absent and is idempotent; `holds` asks the observation, never the log.
 */
export interface StepDef<Args, Seen> {
  because(args: Args): string;
  apply(args: Args): readonly Effect[];
  undo(args: Args, seen: Seen): readonly Effect[];
  holds(args: Args, seen: Seen): Holds;
  /** Asked of a running VM's step that does not hold. */
  repair(args: Args, seen: Seen): Repair;
  /** Several VMs use this resource: only the last one undoes it. The key names the resource. */
  shared?(args: Args): string;
  /** Holds data or outlives the run: a stop leaves it. */
  readonly keeps?: boolean;
  /** `holds` asks which snapshots a VM has. */
  readonly ofSnapshot?: boolean;
}

// Args are erased here: a step's kind picks the definition that made its args.
export type Catalogue<Seen> = Readonly<Record<string, StepDef<never, Seen>>>;

/** One line of a plan. */
export interface Action {
  readonly op: 'apply' | 'undo' | 'repair';
  readonly step: Step;
}
