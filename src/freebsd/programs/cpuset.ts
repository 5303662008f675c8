import type { Command } from '../../base/host.ts';
import { command } from '../../platform/command.ts';

/** Restricts a jail to CPUs. Source: cpuset(1) "-l", "-j". */
export const setCpus = (cpus: string, jail: string): Command => command('/usr/bin/cpuset', ['-l', cpus, '-j', jail]);

/** Shape: `jail 7 mask: 0, 1, 2, 3`, then a line about memory domains. Source: cpuset(1) "-g", FACTS 3.4. */
export const showCpus = (jail: string): Command => command('/usr/bin/cpuset', ['-g', '-j', jail]);

/** CPUs of the mask, as `0,1,2,3`. */
export const parseCpus = (text: string): string | undefined =>
  /^jail \S+ mask: (.*)$/m.exec(text)?.[1]?.replaceAll(' ', '');
