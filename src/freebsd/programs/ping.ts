import type { Command } from '../../base/host.ts';
import { command } from '../../platform/command.ts';

/** One echo, two seconds at most. Source: ping(8) */
export const ping = (address: string): Command =>
  command('/sbin/ping', [address.includes(':') ? '-6' : '-4', '-n', '-c', '1', '-t', '2', address]);
