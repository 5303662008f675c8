import { expect, test } from 'vitest';
import { checkHardening } from '../../../src/linux/hardening.ts';
import { buildHost, type Files } from './build.ts';

const GOOD: Files = {
  '/proc/sys/user/max_user_namespaces': '0\n',
  '/proc/sys/kernel/yama/ptrace_scope': '1\n',
  '/proc/sys/kernel/kptr_restrict': '2\n',
  '/proc/sys/kernel/dmesg_restrict': '1\n',
  '/proc/sys/kernel/core_pattern': 'core\n',
  '/sys/devices/system/cpu/smt/active': '0\n',
  '/proc/swaps': 'Filename\tType\tSize\n/dev/zram0 partition 1\n/dev/dm-1 partition 1\n',
  '/sys/class/block/dm-1/dm/uuid': 'CRYPT-PLAIN-swap\n',
  '/run/systemd/timesync/synchronized': '',
  '/sys/module/bridge': { kind: 'directory' },
  '/dev/net/tun': { kind: 'device' },
  '/sys/devices/system/cpu/vulnerabilities/mds': 'Mitigation: Clear CPU buffers\n',
  '/sys/devices/system/cpu/vulnerabilities/meltdown': 'Not affected\n',
};

/** What is weak, and that each has its cure. */
const weak = async (files: Files): Promise<string[]> => {
  const { host, ran } = buildHost(files);
  const found = (await checkHardening(host)).filter(({ level }) => level !== 'ok');
  expect(found.every(({ level, mend }) => level === 'warning' && mend !== undefined)).toBe(true);
  expect(ran).toEqual([]);
  return found.map(({ got }) => got);
};

test('a hardened host has nothing that weakens it', async () => {
  expect(await weak(GOOD)).toEqual([]);
});

test.each<[string, Files, string]>([
  ['user namespaces', { '/proc/sys/user/max_user_namespaces': '9\n' }, 'any user may make up to 9'],
  ['ptrace', { '/proc/sys/kernel/yama/ptrace_scope': '0\n' }, '0'],
  ['kernel addresses', { '/proc/sys/kernel/kptr_restrict': '0\n' }, '0'],
  ['kernel messages', { '/proc/sys/kernel/dmesg_restrict': '0\n' }, '0'],
  ['piped cores', { '/proc/sys/kernel/core_pattern': '|/usr/bin/x %p\n' }, '|/usr/bin/x %p'],
  ['two threads a core', { '/sys/devices/system/cpu/smt/active': '1\n' }, '1'],
  ['a plain swap', { '/proc/swaps': 'Filename\n/dev/sda2 partition 1\n' }, 'not encrypted: /dev/sda2'],
  ['a swap on LVM', { '/sys/class/block/dm-1/dm/uuid': 'LVM-abc\n' }, 'not encrypted: /dev/dm-1'],
  ['a hole of the CPU', { '/sys/devices/system/cpu/vulnerabilities/mds': 'Vulnerable: x\n' }, 'vulnerable: mds'],
])('%s are told', async (_, files, got) => {
  expect(await weak({ ...GOOD, ...files })).toEqual([got]);
});

test.each([
  ['/proc/sys/kernel/yama/ptrace_scope', 'the kernel has no Yama'],
  ['/run/systemd/timesync/synchronized', 'unknown: neither systemd-timesyncd nor chronyd nor ntpd has synchronized it'],
  ['/sys/module/bridge', 'not loaded: bridge'],
])('%s that is absent is told', async (path, got) => {
  expect(await weak(Object.fromEntries(Object.entries(GOOD).filter(([each]) => each !== path)))).toEqual([got]);
});

test.each(['/proc/sys/kernel/unprivileged_userns_clone', '/proc/sys/kernel/apparmor_restrict_unprivileged_userns'])(
  '%s closes user namespaces as well',
  async (path) => {
    const closed = path.endsWith('clone') ? '0\n' : '1\n';
    expect(await weak({ ...GOOD, '/proc/sys/user/max_user_namespaces': '9\n', [path]: closed })).toEqual([]);
  },
);
