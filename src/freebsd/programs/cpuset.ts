import type { Command } from '../../base/host.ts';
import { command } from '../../platform/command.ts';

/** Restricts a jail to CPUs. Source: cpuset(1) "-l", "-j". */
export const setCpus = (cpus: string, jail: string): Command => command('/usr/bin/cpuset', ['-l', cpus, '-j', jail]);
