import type { Command } from '../../base/host.ts';
import { command } from '../../platform/command.ts';

/** `jail -c` from parameters alone: jail.conf(5) is ignored, nothing is mounted or started. Prints the jid. */
export const createJail = (parameters: readonly string[]): Command =>
  command('/usr/sbin/jail', ['-q', '-i', '-c', ...parameters]);

/** Removes without running anything of jail.conf; exit 0 for a dying jail. Source: jail(8) "-R", FACTS S.9. */
export const removeJail = (name: string): Command => command('/usr/sbin/jail', ['-R', name]);
