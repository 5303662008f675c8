import type { Command } from '../../base/host.ts';
import { command } from '../../platform/command.ts';
import { SEED_LABEL, SEED_TIME } from '../../platform/seed.ts';

export const MAKEFS = '/usr/sbin/makefs';

/** An ISO 9660 file system of a directory, the same for the same files. Source: makefs(8) "-T", "CD9660-specific options". */
export const makeSeed = (directory: string, to: string): Command =>
  command(MAKEFS, ['-t', 'cd9660', '-o', `rockridge,label=${SEED_LABEL}`, '-T', String(SEED_TIME), to, directory]);
