import type { Command } from '../../base/host.ts';
import { command } from '../../platform/command.ts';

/** Shape: a header, then `DEVICE BLOCKS USED` a line. Source: swapctl(8) "-l". */
export const listSwap = (): Command => command('/sbin/swapctl', ['-l']);

/** Swap devices that geli(8) does not encrypt. */
export const parsePlainSwap = (text: string): string[] =>
  text.split('\n').flatMap((line) => {
    const device = /^(\/dev\/\S+)\s+\d/.exec(line)?.[1];
    return device === undefined || device.endsWith('.eli') ? [] : [device];
  });
