import { DATA_GONE, type StepDef } from '../base/step.ts';

export interface GrowArgs {
  readonly vm: string;
  readonly path: string;
  readonly bytes: number;
}

/** A larger file disk; done twice it is the same. There is nothing to undo: it only goes forward. */
export const fileGrow: StepDef<GrowArgs, unknown> = {
  keeps: true,
  because: ({ vm, path }) => `disk ${path} of ${vm} becomes larger`,
  apply: ({ path, bytes }) => [{ do: 'grow', path, bytes }],
  undo: () => [],
  holds: () => 'no',
  repair: () => DATA_GONE,
};
