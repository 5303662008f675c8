import type { Command } from '../../base/host.ts';
import { command } from '../../platform/command.ts';

/** Exit 0 when a unix socket is at the path. Source: test(1) "-S". */
export const isSocket = (path: string): Command => command('/bin/test', ['-S', path]);
