import type { Command } from '../../base/host.ts';
import { command } from '../../platform/command.ts';

/** Loads what is not there yet; success when all are. Source: kldload(8) "-n". */
export const loadModules = (names: readonly string[]): Command => command('/sbin/kldload', ['-n', ...names]);

/** Exit 0 when the kernel has a module of this name, loaded or built in. Source: kldstat(8) "-q", "-m". */
export const hasModule = (name: string): Command => command('/sbin/kldstat', ['-q', '-m', name]);

/** Exit 0 when the file is loaded, whatever its modules are called. Source: kldstat(8) "-n". */
export const hasFile = (name: string): Command => command('/sbin/kldstat', ['-q', '-n', `${name}.ko`]);
