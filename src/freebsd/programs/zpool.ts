import type { Command } from '../../base/host.ts';
import { command } from '../../platform/command.ts';

/** Shape: `tank<TAB>ONLINE` a line. Source: zpool-list(8). */
export const listPools = (): Command => command('/sbin/zpool', ['list', '-Hp', '-o', 'name,health']);

/** Pools that are not well, with what they are. */
export const parseUnwell = (text: string): string[] =>
  text.split('\n').flatMap((line) => {
    const [name, health] = line.split('\t');
    return name && health && health !== 'ONLINE' ? [`${name} ${health}`] : [];
  });
