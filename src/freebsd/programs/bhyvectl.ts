import type { Command, Tolerance } from '../../base/host.ts';
import { command } from '../../platform/command.ts';

/** Must come before a new start and before the jail goes: a VM holds the jail's credential. Source: bhyvectl(8), FACTS 2. */
export const destroyVm = (name: string): Command => command('/usr/sbin/bhyvectl', [`--vm=${name}`, '--destroy']);

export const forcePoweroff = (name: string): Command =>
  command('/usr/sbin/bhyvectl', [`--vm=${name}`, '--force-poweroff']);

/** Seen: `vm_open: web01 could not be opened: No such file or directory`, exit 1. */
export const NO_VM: Tolerance = { status: 1, stderr: 'could not be opened: No such file or directory' };
