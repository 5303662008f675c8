import type { Command } from '../../base/host.ts';
import { command } from '../../platform/command.ts';

export const PING = '/usr/bin/ping';

/** One echo, one second. Source: ping(8) of iputils */
export const ping = (address: string): Command => command(PING, ['-n', '-c', '1', '-W', '1', address]);
