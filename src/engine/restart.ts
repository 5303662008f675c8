import type { Exit } from '../platform/exit.ts';
import type { VmSpec } from '../spec/vm.ts';

/** A run that ended without anybody at this node asking for it: the guest did it, or it crashed. */
export const causeOf = (exit: Exit): 'guest' | 'crash' =>
  exit.kind === 'poweroff' || exit.kind === 'halted' || exit.kind === 'reset' ? 'guest' : 'crash';

export type Decision =
  { readonly restart: true; readonly afterMs: number } | { readonly restart: false; readonly reason?: string };

/** First pause after a crash; doubles with each in the window, up to the most. Units: milliseconds. */
const BACKOFF_MS = 500;
const BACKOFF_MAX_MS = 60_000;

/**
 * What follows a run that ended by itself. `endsMs`: earlier ends in this window, newest last.
 * A supervisor that gave up on a reboot loop (exit reset) counts as a crash: the loop must not go on here.
 */
export const decide = (policy: VmSpec['restart'], exit: Exit, endsMs: readonly number[], nowMs: number): Decision => {
  const crashed = causeOf(exit) === 'crash' || exit.kind === 'reset';
  if (policy.policy === 'never' || (policy.policy === 'on-failure' && !crashed)) return { restart: false };
  const recent = endsMs.filter((at) => nowMs - at < policy.windowSeconds * 1000).length;
  if (recent >= policy.max)
    return {
      restart: false,
      reason: `ended ${recent + 1} times within ${policy.windowSeconds} s: not restarted any more until started by hand`,
    };
  return { restart: true, afterMs: recent === 0 ? 0 : Math.min(BACKOFF_MS * 2 ** (recent - 1), BACKOFF_MAX_MS) };
};
