import type { Command } from '../../base/host.ts';
import { command } from '../../platform/command.ts';
import { SEED_LABEL, SEED_TIME } from '../../platform/seed.ts';

export const XORRISOFS = '/usr/bin/xorrisofs';

/** `1980010100000000`: down to hundredths of a second. */
const date = new Date(SEED_TIME * 1000).toISOString().replaceAll(/\D/g, '').slice(0, 16);

/** An ISO 9660 file system of a directory, the same for the same files. Source: xorrisofs(1). */
export const makeSeed = (directory: string, to: string): Command =>
  command(XORRISOFS, [
    ...['-quiet', '-V', SEED_LABEL, '-J', '-r', '-no-pad', '--set_all_file_dates', date],
    ...[`--modification-date=${date}`, '-o', to, directory],
  ]);
