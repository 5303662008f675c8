import type { Command, Effect } from '../base/host.ts';
import { LIMITS } from '../base/limits.ts';

type RunEffect = Effect & { do: 'run' };

/** A command with brig's usual patience. */
export const command = (
  program: string,
  args: readonly string[],
  extra: Partial<Pick<Command, 'stdin' | 'timeoutMs'>> = {},
): Command => ({
  program,
  args,
  timeoutMs: LIMITS.commandTimeoutMs,
  ...extra,
});

/** The effect of running it. */
export const run = (what: Command, extra: Pick<RunEffect, 'tolerate' | 'expect' | 'retry'> = {}): Effect => ({
  do: 'run',
  command: what,
  ...extra,
});
