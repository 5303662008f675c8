import type { Command } from '../../base/host.ts';
import { command } from '../../platform/command.ts';

/** A signal to processes by number. Source: kill(1). */
export const kill = (signal: 'TERM' | 'KILL' | 'CONT', pids: readonly number[]): Command =>
  command('/bin/kill', [`-${signal}`, ...pids.map(String)]);
