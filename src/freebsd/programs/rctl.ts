import type { Command } from '../../base/host.ts';
import { command } from '../../platform/command.ts';

import type { Vm } from '../../platform/platform.ts';
import { limitsOf, type Where } from '../devices.ts';

/** While bhyve builds its ACPI tables, two shells and iasl(8) hold copies of its descriptors: the jail counts them all. */
const START_PROCESSES = 4;

/**
 * Rules for a jail's limits. Guest memory counts as virtual memory of bhyve (FACTS S.24), hence vmemoryuse.
 * Shape:  jail:brig-web01:vmemoryuse:deny=2147483648
 * Units:  bytes, percent of one CPU, bytes and operations a second.
 * Source: rctl(8)
 */
export const rulesFor = (jail: string, vm: Vm, where: Where): string[] => {
  const { limits } = vm.spec;
  const { processes, openfiles, threads } = limitsOf(vm, where);
  const rule = (resource: string, action: 'deny' | 'throttle', amount: number | undefined): string[] =>
    amount === undefined ? [] : [`jail:${jail}:${resource}:${action}=${amount}`];
  return [
    ...rule('vmemoryuse', 'deny', limits.memory),
    ...rule('pcpu', 'deny', limits.pcpu),
    ...rule('openfiles', 'deny', openfiles * START_PROCESSES),
    ...rule('nthr', 'deny', threads),
    ...rule('maxproc', 'deny', processes),
    ...rule('readbps', 'throttle', limits.readBps),
    ...rule('writebps', 'throttle', limits.writeBps),
    ...rule('readiops', 'throttle', limits.readIops),
    ...rule('writeiops', 'throttle', limits.writeIops),
  ];
};

export const addRule = (rule: string): Command => command('/usr/bin/rctl', ['-a', rule]);

/** Rules outlive the jail they name (FACTS S.24). */
export const removeRules = (jail: string): Command => command('/usr/bin/rctl', ['-r', `jail:${jail}`]);

export const listRules = (): Command => command('/usr/bin/rctl', []);

/** Parses `rctl`: one rule a line. */
export const parseRules = (text: string): string[] => text.split('\n').filter(Boolean);
