import type { Command } from '../../base/host.ts';
import { command } from '../../platform/command.ts';
import type { VmSpec } from '../../spec/vm.ts';

/**
 * Rules for a jail's limits. Guest memory counts as virtual memory of bhyve (FACTS S.24), hence vmemoryuse.
 * Shape:  jail:brig-web01:vmemoryuse:deny=2147483648
 * Source: rctl(8)
 */
export const rulesFor = (jail: string, limits: VmSpec['limits']): string[] => {
  const rule = (resource: string, amount: number | undefined): string[] =>
    amount === undefined ? [] : [`jail:${jail}:${resource}:deny=${amount}`];
  return [
    ...rule('vmemoryuse', limits.memory),
    ...rule('pcpu', limits.pcpu),
    ...rule('openfiles', limits.openfiles),
    ...rule('maxproc', limits.processes),
  ];
};

export const addRule = (rule: string): Command => command('/usr/bin/rctl', ['-a', rule]);

/** Rules outlive the jail they name (FACTS S.24). */
export const removeRules = (jail: string): Command => command('/usr/bin/rctl', ['-r', `jail:${jail}`]);

export const listRules = (): Command => command('/usr/bin/rctl', []);

/** Parses `rctl`: one rule a line. */
export const parseRules = (text: string): string[] => text.split('\n').filter(Boolean);
