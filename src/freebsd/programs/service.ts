import type { Command } from '../../base/host.ts';
import { command } from '../../platform/command.ts';

/** Exit 0 when rc.conf(5) enables the script; 1 when not, or when there is none. Source: service(8), rc.subr(8) "enabled". */
export const isEnabled = (name: string): Command => command('/usr/sbin/service', [name, 'enabled']);
