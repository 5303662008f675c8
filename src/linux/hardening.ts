import type { Host } from '../base/host.ts';
import type { Finding } from '../platform/platform.ts';

/** What a check found: nothing to say, or what is weak. */
type Weak = string | undefined;

/** One thing that weakens a host for all of its VMs; none of them keeps a VM from starting. */
interface Check {
  readonly what: string;
  readonly mend: string;
  readonly weak: (read: Read, host: Host) => Promise<Weak>;
}

type Read = (path: string) => Promise<string | undefined>;

/** A kernel setting that is one of `good`; a kernel without it passes when `absent` says so. */
const setting =
  (path: string, isGood: (value: string) => boolean, absent?: string): Check['weak'] =>
  async (read) => {
    const value = await read(path);
    if (value === undefined) return absent;
    return isGood(value) ? undefined : value;
  };

const atLeast =
  (least: number) =>
  (value: string): boolean =>
    Number(value) >= least;

/** Three ways to close them: Debian's own switch, AppArmor's, and the kernel's. */
const namespaces: Check['weak'] = async (read) => {
  const debian = await read('/proc/sys/kernel/unprivileged_userns_clone');
  const apparmor = await read('/proc/sys/kernel/apparmor_restrict_unprivileged_userns');
  const most = await read('/proc/sys/user/max_user_namespaces');
  if (debian === '0' || apparmor === '1' || most === '0' || most === undefined) return undefined;
  return `any user may make up to ${most}`;
};

/** A swap is in memory only (zram), or encrypted (a device-mapper device whose uuid begins with CRYPT). */
const isSafeSwap = async (read: Read, device: string): Promise<boolean> => {
  const name = device.slice(device.lastIndexOf('/') + 1);
  if (name.startsWith('zram')) return true;
  return (await read(`/sys/class/block/${name}/dm/uuid`))?.startsWith('CRYPT-') ?? false;
};

const swap: Check['weak'] = async (read) => {
  const devices = ((await read('/proc/swaps')) ?? '')
    .split('\n')
    .slice(1)
    .flatMap((line) => line.split(/\s+/)[0] || []);
  const safe = await Promise.all(devices.map((device) => isSafeSwap(read, device)));
  const open = devices.filter((_, i) => !safe[i]);
  return open.length === 0 ? undefined : `not encrypted: ${open.join(' ')}`;
};

/** Source: systemd-timesyncd.service(8), chronyd(8). Whether the clock is right is not said; only whether somebody looks. */
const clock: Check['weak'] = async (_, host) => {
  const signs = ['/run/systemd/timesync/synchronized', '/run/chrony/chronyd.pid', '/run/chronyd.pid', '/run/ntpd.pid'];
  const found = await Promise.all(signs.map((path) => host.stat(path)));
  return found.some(Boolean)
    ? undefined
    : 'unknown: neither systemd-timesyncd nor chronyd nor ntpd has synchronized it';
};

const VULNERABILITIES = '/sys/devices/system/cpu/vulnerabilities';

const cpu: Check['weak'] = async (read, host) => {
  const names = (await host.list(VULNERABILITIES)) ?? [];
  const found = await Promise.all(
    names.map(async (name) => ((await read(`${VULNERABILITIES}/${name}`))?.startsWith('Vulnerable') ? [name] : [])),
  );
  const open = found.flat().sort();
  return open.length === 0 ? undefined : `vulnerable: ${open.join(' ')}`;
};

/** The module is loaded, or the kernel has it inside: then there is a directory either way. */
const modules: Check['weak'] = async (_, host) => {
  const signs = { bridge: '/sys/module/bridge', tun: '/dev/net/tun' };
  const found = await Promise.all(
    Object.entries(signs).map(async ([name, path]) => ((await host.stat(path)) ? [] : [name])),
  );
  const missing = found.flat();
  return missing.length === 0 ? undefined : `not loaded: ${missing.join(' ')}`;
};

const persist = (key: string, value: string): string => `sysctl -w ${key}=${value}`;

const CHECKS: readonly Check[] = [
  {
    what: 'no user namespaces for users without rights: most escapes through the kernel begin there',
    mend: persist('user.max_user_namespaces', '0'),
    weak: namespaces,
  },
  {
    what: 'kernel.yama.ptrace_scope of 1 or more: a process may not look into its neighbours of the same uid',
    mend: `${persist('kernel.yama.ptrace_scope', '1')}, or boot with lsm=yama where the kernel has none`,
    weak: setting('/proc/sys/kernel/yama/ptrace_scope', atLeast(1), 'the kernel has no Yama'),
  },
  {
    what: 'kernel.kptr_restrict of 1 or more: addresses of the kernel are hidden',
    mend: persist('kernel.kptr_restrict', '1'),
    weak: setting('/proc/sys/kernel/kptr_restrict', atLeast(1)),
  },
  {
    what: 'kernel.dmesg_restrict: messages of the kernel are for root',
    mend: persist('kernel.dmesg_restrict', '1'),
    weak: setting('/proc/sys/kernel/dmesg_restrict', atLeast(1)),
  },
  {
    what: 'kernel.core_pattern without a program: cores of other processes are read by it as root',
    mend: persist('kernel.core_pattern', 'core'),
    weak: setting('/proc/sys/kernel/core_pattern', (value) => !value.startsWith('|')),
  },
  {
    what: 'one thread a core: two guests on one core can watch each other',
    mend: 'echo off > /sys/devices/system/cpu/smt/control',
    weak: setting('/sys/devices/system/cpu/smt/active', (value) => value === '0'),
  },
  { what: 'memory of guests is on no disk', mend: 'swapoff -a, or swap on dm-crypt or zram', weak: swap },
  { what: 'a clock that is kept right', mend: 'apt-get install systemd-timesyncd', weak: clock },
  { what: 'bridges and taps', mend: 'modprobe -a bridge tun', weak: modules },
  {
    what: 'no known hole of the CPU without its mitigation',
    mend: 'boot without mitigations=off, with newer microcode (apt-get install intel-microcode amd64-microcode)',
    weak: cpu,
  },
];

/** What weakens this host; files only, no process. */
export const checkHardening = (host: Host): Promise<Finding[]> => {
  const read: Read = async (path) => (await host.readFile(path).catch(() => undefined))?.trim();
  return Promise.all(
    CHECKS.map(async ({ what, mend, weak }): Promise<Finding> => {
      const got = await weak(read, host);
      return got === undefined ? { level: 'ok', what, got: 'so' } : { level: 'warning', what, got, mend };
    }),
  );
};
