import { mkdir, readFile } from 'node:fs/promises';
import { execa } from 'execa';
import { BrigError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { freebsdPlatform } from '../freebsd/platform.ts';
import { readFragments } from '../io/fragments.ts';
import { realHost } from '../io/host.ts';
import { linuxPlatform } from '../linux/platform.ts';
import { command } from '../platform/command.ts';
import type { Platform } from '../platform/platform.ts';
import type { Config } from '../spec/config.ts';

/** Node may run under Linux emulation on FreeBSD, where process.platform says linux: the kernel's own uname(1) decides. */
const detect = async (): Promise<'freebsd' | 'linux'> => {
  const { stdout } = await execa('/usr/bin/uname', ['-s'], {
    reject: false,
    env: { PATH: '/usr/bin:/bin' },
    extendEnv: false,
  });
  // An emulation may come with a uname of its own; devfs(8) exists on FreeBSD only.
  const native = stdout === 'FreeBSD' || (await realHost.stat('/sbin/devfs')) !== undefined;
  return native ? 'freebsd' : 'linux';
};

/** Native programs of FreeBSD say so in their ELF header: EI_OSABI is 9. Source: elf(5). */
const FREEBSD_ABI = 9;

/**
 * Under Linux emulation a path means the one below compat.linux.emul_path where that exists: Node would run another
 * sh, or make directories that mount(8) does not find. Errors: host.mismatch.
 */
const checkEmulation = async (config: Config): Promise<void> => {
  const hint = 'Node runs under Linux emulation: sysctl compat.linux.use_emul_path=0, or choose other directories';
  for (const program of ['/bin/sh', '/usr/sbin/chroot', '/sbin/mount']) {
    const header = await readFile(program).catch(() => undefined);
    if (header && header[7] !== FREEBSD_ABI)
      throw new BrigError('host.mismatch', `start brigd: expected ${program} of FreeBSD, got another`, { hint });
  }
  for (const path of [config.runDir, config.stateDir]) {
    await mkdir(path, { recursive: true, mode: 0o711 });
    // A static program that no emulation has; a host without it cannot be checked.
    const seen = await realHost.run(command('/rescue/test', ['-d', path])).catch(() => undefined);
    if (seen && seen.status !== 0)
      throw new BrigError('host.mismatch', `start brigd: expected mount(8) to find ${path}, got no such directory`, {
        hint,
      });
  }
};

/** The host and the platform that a configuration means. */
export const chooseHost = async (config: Config): Promise<{ host: Host; platform: Platform }> => {
  const kind = config.host ?? (await detect());
  const paths = { stateDir: config.stateDir, runDir: config.runDir };
  const { dataset, reserve } = config;
  if (kind === 'linux')
    return {
      host: realHost,
      platform: linuxPlatform({ paths, accel: config.accel, allowDevices: config.allowDevices }),
    };
  if (kind === 'freebsd') await checkEmulation(config);
  const platform = freebsdPlatform({
    paths,
    dataset,
    reserve,
    fragments: readFragments(),
    allowDevices: config.allowDevices,
  }) as Platform;
  return { host: kind === 'model' ? await modelHost(dataset) : realHost, platform };
};

/** Loaded only when asked for: a product's memory has no room for toys. */
const modelHost = async (dataset: string | undefined): Promise<Host> => {
  const { createModel } = await import('../model/model.ts');
  return createModel({ pace: 'real', ...(dataset === undefined ? {} : { pool: dataset.split('/')[0] }) }).host;
};
