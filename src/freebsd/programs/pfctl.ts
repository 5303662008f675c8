import type { Command } from '../../base/host.ts';
import { command } from '../../platform/command.ts';

/** Translation rules, or filter rules, of the main ruleset. Source: pfctl(8) "-s". */
export const showMain = (what: 'nat' | 'rules'): Command => command('/sbin/pfctl', ['-s', what]);

/** Lines that the main ruleset must have, in this order; brig never edits pf.conf(5). */
export const ANCHORS = ['nat-anchor "brig/*"', 'rdr-anchor "brig/*"', 'anchor "brig/*"'] as const;

/** Those that are missing. Seen: `nat-anchor "brig/*" all`. */
export const missingAnchors = (shown: string): string[] => {
  const lines = shown.split('\n');
  return ANCHORS.filter((anchor) => !lines.some((line) => line === anchor || line.startsWith(`${anchor} `)));
};
