import type { Command } from '../../base/host.ts';
import { command } from '../../platform/command.ts';

export const FREEBSD_VERSION = '/bin/freebsd-version';

/**
 * Release and patch level of the base programs; those of the kernel may differ. One line.
 * unrecorded: bin/freebsd-version/freebsd-version.sh.in, userland_version
 */
export const readVersion = (): Command => command(FREEBSD_VERSION, ['-u']);
