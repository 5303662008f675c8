import type { Command } from '../../base/host.ts';
import { command } from '../../platform/command.ts';

/** FIFOs that only root opens. Source: mkfifo(1) "-m". */
export const makeFifos = (paths: readonly string[]): Command => command('/usr/bin/mkfifo', ['-m', '0600', ...paths]);
