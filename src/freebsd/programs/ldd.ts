import type { Command } from '../../base/host.ts';
import { LIMITS } from '../../base/limits.ts';
import { command } from '../../platform/command.ts';

/** One path per line for every library of the programs. Source: ldd(1) "-f", `%p`. */
export const listLibraries = (programs: readonly string[]): Command =>
  command('/usr/bin/ldd', ['-f', '%p\\n', ...programs], { timeoutMs: LIMITS.baseBuildTimeoutMs });

/** Parses `ldd -f '%p\n'`: one path per line; headers and what is not a file are passed over. */
export const parseLibraries = (text: string): string[] =>
  [...new Set(text.split('\n').filter((line) => /^\/[^:\s]+$/.test(line)))].sort();
