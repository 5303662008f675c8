import type { Command } from '../../base/host.ts';
import { command } from '../../platform/command.ts';

const PFCTL = '/sbin/pfctl';

/** Translation rules, filter rules, or whether pf filters at all, of the main ruleset. Source: pfctl(8) "-s" */
export const showMain = (what: 'nat' | 'rules' | 'info'): Command => command(PFCTL, ['-s', what]);

/** Lines that the main ruleset must have, in this order; brig never edits pf.conf(5). */
export const ANCHORS = ['nat-anchor "brig/*"', 'rdr-anchor "brig/*"', 'anchor "brig/*"'] as const;

/** Those that are missing. Seen: `nat-anchor "brig/*" all`. */
export const missingAnchors = (shown: string): string[] => {
  const lines = shown.split('\n');
  return ANCHORS.filter((anchor) => !lines.some((line) => line === anchor || line.startsWith(`${anchor} `)));
};

/** Recorded: `Status: Enabled for 0 days 00:12:15`. */
export const isFiltering = (info: string): boolean => /^Status: Enabled\b/m.test(info);

/** All anchors. Recorded: with -v those within others, too. */
export const listAnchors = (): Command => command(PFCTL, ['-v', '-s', 'Anchors']);

/** Those of brig's. Shape: `brig/web01`. Recorded: each after two blanks. */
export const parseAnchors = (text: string): ReadonlySet<string> =>
  new Set(text.split('\n').flatMap((line) => (line.startsWith('  brig/') ? [line.trim()] : [])));

export const showAnchor = (anchor: string, what: 'nat' | 'rules'): Command =>
  command(PFCTL, ['-a', anchor, '-s', what]);

/** Whether a text is one that pf takes: nothing is changed. */
export const checkAnchor = (anchor: string, text: string): Command =>
  command(PFCTL, ['-n', '-a', anchor, '-f', '-'], { stdin: text });

/** All of an anchor at once, as it is written. Source: pfctl(8) "-o none" */
export const loadAnchor = (anchor: string, text: string): Command =>
  command(PFCTL, ['-o', 'none', '-a', anchor, '-f', '-'], { stdin: text });

/** What an anchor has of one kind; -F all ends with an error (FACTS S.16). Its tables go with its rules. */
export const flushAnchor = (anchor: string, what: 'nat' | 'rules'): Command =>
  command(PFCTL, ['-a', anchor, '-F', what]);

/** Connections that rules with this label let pass: they would outlive their rules. */
export const killStates = (label: string): Command => command(PFCTL, ['-k', 'label', '-k', label]);

/** A text that only releases take whose rules know where a packet came in. */
export const tryReceivedOn = (group: string): Command =>
  command(PFCTL, ['-n', '-f', '-'], { stdin: `block out quick on lo0 inet from any to any received-on ${group}\n` });
