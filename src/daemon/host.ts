import { execa } from 'execa';
import type { Host } from '../base/host.ts';
import { freebsdPlatform } from '../freebsd/platform.ts';
import { realHost } from '../io/host.ts';
import { linuxPlatform } from '../linux/platform.ts';
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

/** The host and the platform that a configuration means. */
export const chooseHost = async (config: Config): Promise<{ host: Host; platform: Platform }> => {
  const kind = config.host ?? (await detect());
  const paths = { stateDir: config.stateDir, runDir: config.runDir };
  const { dataset } = config;
  if (kind === 'linux') return { host: realHost, platform: linuxPlatform({ paths, accel: config.accel }) as Platform };
  const platform = freebsdPlatform({ paths, dataset }) as Platform;
  return { host: kind === 'model' ? await modelHost(dataset) : realHost, platform };
};

/** Loaded only when asked for: a product's memory has no room for toys. */
const modelHost = async (dataset: string | undefined): Promise<Host> => {
  const { createModel } = await import('../model/model.ts');
  return createModel({ pace: 'real', ...(dataset === undefined ? {} : { pool: dataset.split('/')[0] }) }).host;
};
