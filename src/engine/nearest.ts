import { BrigError } from '../base/errors.ts';
import { escapeControls } from '../base/units.ts';

/** Edit distance, bounded by the lengths of two names. */
const distance = (a: string, b: string): number => {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next[j] = Math.min(
        (row[j] ?? 0) + 1,
        (next[j - 1] ?? 0) + 1,
        (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1),
      );
    row = next;
  }
  return row[b.length] ?? 0;
};

/** The name that was probably meant: at most a third of it wrong. */
export const nearest = (name: string, names: readonly string[]): string | undefined => {
  const best = names.map((each) => ({ each, far: distance(name, each) })).sort((a, b) => a.far - b.far)[0];
  return best && best.far <= Math.ceil(name.length / 3) ? best.each : undefined;
};

/** Of more names nobody looks for the one that was meant: a guess is not worth the time of others. */
const NAMES_LOOKED_AT = 1_000;

/** For whoever may know these names, there is no other. `cause`: for the log alone. */
export const unknownVm = (name: string, names: readonly string[], cause?: unknown): BrigError => {
  const near = names.length > NAMES_LOOKED_AT ? undefined : nearest(name.slice(0, 64), names);
  return new BrigError('vm.unknown', `find ${escapeControls(name.slice(0, 64))}: no such VM`, {
    ...(near === undefined ? {} : { hint: `did you mean ${near}?` }),
    ...(cause === undefined ? {} : { cause }),
  });
};
