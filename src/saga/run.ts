import { strict as assert } from 'node:assert';
import type { Effect, Host } from '../base/host.ts';
import type { Action, Catalogue, Holds, Repair, Step, StepDef } from '../base/step.ts';
import { BrigError, messageOf } from '../base/errors.ts';
import type { Reveal } from '../base/secret.ts';
import { perform } from './perform.ts';

/** A step's definition; what is not in the catalogue is a bug or a journal of another brig. */
export const definitionOf = <Seen>(catalogue: Catalogue<Seen>, step: Step): StepDef<unknown, Seen> => {
  const found = catalogue[step.kind];
  assert(found, `unknown step ${step.kind}`);
  return found;
};

export const holdsOf = <Seen>(catalogue: Catalogue<Seen>, step: Step, seen: Seen): Holds =>
  definitionOf(catalogue, step).holds(step.args, seen);

/** What an action does, as data: the same for `brig plan` and for the run. */
export const effectsOf = <Seen>(catalogue: Catalogue<Seen>, action: Action, seen: Seen): readonly Effect[] => {
  const definition = definitionOf(catalogue, action.step);
  const { args } = action.step;
  if (action.op === 'apply') return definition.apply(args);
  if (action.op === 'undo') return definition.undo(args, seen);
  const repair = definition.repair(args, seen);
  assert(!('restart' in repair), `${action.step.kind} cannot be repaired`);
  return repair;
};

/** How a step of a running VM is made good, or why only a new start helps. */
export const planRepair = <Seen>(catalogue: Catalogue<Seen>, step: Step, seen: Seen): Repair =>
  definitionOf(catalogue, step).repair(step.args, seen);

/** Steps that are not there yet, in order. */
export const planApply = <Seen>(catalogue: Catalogue<Seen>, steps: readonly Step[], seen: Seen): Action[] =>
  unique(steps)
    .filter((step) => holdsOf(catalogue, step, seen) !== 'yes')
    .map((step) => ({ op: 'apply', step }));

/** Steps of which anything is there, backwards. */
export const planUndo = <Seen>(catalogue: Catalogue<Seen>, steps: readonly Step[], seen: Seen): Action[] =>
  unique(steps)
    .filter((step) => holdsOf(catalogue, step, seen) !== 'no')
    .reverse()
    .map((step) => ({ op: 'undo', step }));

/** Two NICs on one network share a bridge: it is one step. */
const unique = (steps: readonly Step[]): Step[] => {
  const texts = new Set<string>();
  return steps.filter((step) => {
    const text = JSON.stringify(step);
    return !texts.has(text) && Boolean(texts.add(text));
  });
};

/** Told before and after each action. */
export interface Progress {
  started(action: Action): void;
  done(action: Action): void;
  /** A stop goes on to a harder means. */
  stage(action: Action, name: string): void;
  failed(action: Action, error: BrigError): void;
}

/** What the runner asks about resources of several VMs. */
export interface SharedUse {
  /** Runs the undo unless another VM uses the resource. */
  undo(key: string, work: () => Promise<void>): Promise<void>;
}

export interface RunOptions<Seen> {
  readonly host: Host;
  readonly catalogue: Catalogue<Seen>;
  readonly seen: Seen;
  readonly progress: Progress;
  readonly shared: SharedUse;
  /** Absent: what holds a secret cannot be made. */
  readonly reveal?: Reveal;
  /** Looked at between effects. */
  readonly signal?: AbortSignal | undefined;
  /** A guest that is being stopped gets no more time. */
  readonly hurry?: AbortSignal | undefined;
}

/**
 * Runs actions one after the other and stops at the first that fails: what follows may depend on it.
 * Errors: those of perform, with the step in the message; saga.cancelled when the signal is set.
 */
export const runActions = async <Seen>(actions: readonly Action[], options: RunOptions<Seen>): Promise<void> => {
  for (const action of actions) {
    options.progress.started(action);
    try {
      await runAction(action, options);
    } catch (error) {
      const failure = toStepError(action, error);
      options.progress.failed(action, failure);
      throw failure;
    }
    options.progress.done(action);
  }
};

const runAction = async <Seen>(action: Action, options: RunOptions<Seen>): Promise<void> => {
  const { catalogue, seen, host, signal, hurry, shared, reveal } = options;
  const work = async (): Promise<void> => {
    for (const effect of effectsOf(catalogue, action, seen)) {
      if (signal?.aborted) throw new BrigError('saga.cancelled', 'cancelled');
      const onStage = (stage: string): void => options.progress.stage(action, stage);
      await perform(host, effect, { signal, hurry, reveal, onStage });
    }
  };
  const key = definitionOf(catalogue, action.step).shared?.(action.step.args);
  return action.op === 'undo' && key !== undefined ? await shared.undo(key, work) : await work();
};

const toStepError = (action: Action, error: unknown): BrigError => {
  // A bug must not look like a host's answer, but what has begun is undone all the same.
  const known =
    error instanceof BrigError ? error : new BrigError('saga.failed', `bug: ${messageOf(error)}`, { cause: error });
  return new BrigError(
    known.code,
    `${action.op === 'apply' ? '' : `${action.op} `}${action.step.kind}: ${known.message}`,
    {
      retry: known.retry,
      details: { ...known.details, step: action.step.kind },
      cause: known,
      ...(known.hint === undefined ? {} : { hint: known.hint }),
    },
  );
};
