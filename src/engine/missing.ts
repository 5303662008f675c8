import type { Catalogue, Step } from '../base/step.ts';
import type { Finding } from '../platform/platform.ts';
import { definitionOf, holdsOf } from '../saga/run.ts';

/** A disk that somebody removed is not quietly replaced by an empty one. */
export const findMissing = <Seen>(catalogue: Catalogue<Seen>, steps: readonly Step[], seen: Seen): Finding[] =>
  steps
    .filter((step) => holdsOf(catalogue, step, seen) === 'no')
    .map((step) => ({
      level: 'problem',
      what: `what ${step.kind} made (${definitionOf(catalogue, step).because(step.args)})`,
      got: 'nothing there',
    }));
