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

/** Of more or longer names nobody looks for the one that was meant: a guess is not worth the time of others. */
const NAMES_LOOKED_AT = 200;
const CHARACTERS = 64;

/** The name that was probably meant: at most a third of it wrong. */
export const nearest = (name: string, names: readonly string[]): string | undefined => {
  if (name.length > CHARACTERS || names.length > NAMES_LOOKED_AT) return undefined;
  const best = names
    .map((each) => ({ each, far: distance(name, each.slice(0, CHARACTERS)) }))
    .sort((a, b) => a.far - b.far)[0];
  return best && best.far <= Math.ceil(name.length / 3) ? best.each : undefined;
};

/** For whoever may know these names, there is no other. `cause`: for the log alone. */
export const unknownVm = (name: string, names: readonly string[], cause?: unknown): BrigError => {
  const near = nearest(name, names);
  return new BrigError('vm.unknown', `find ${escapeControls(name.slice(0, CHARACTERS))}: no such VM`, {
    ...(near === undefined ? {} : { hint: `did you mean ${near}?` }),
    ...(cause === undefined ? {} : { cause }),
  });
};
