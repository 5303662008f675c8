import { describe, expect, test } from 'vitest';
import {
  cpuLimit,
  cpusetLimit,
  findController,
  ioLimit,
  memoryLimit,
  renderSetting,
  unifiedRoot,
} from '../../../src/linux/programs/cgroup.ts';
import { parseLinks } from '../../../src/linux/programs/ip.ts';
import { parseProcesses } from '../../../src/linux/programs/ps.ts';
import { formatOf } from '../../../src/linux/programs/qemu-img.ts';
import { parseCpuList, parseLibraries, parseMemory, parsePasswd } from '../../../src/linux/programs/system.ts';

// Every text below was printed by Debian 12 (iproute2 6.1, procps 4.0.2, glibc 2.36), shortened where it says so.

/** `ip -details -json address show`, without keys that nobody reads. */
const ON_HOST = `[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"mtu":65536,"operstate":"UNKNOWN","link_type":"loopback"},
{"ifindex":4,"ifname":"eth0","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1400,"operstate":"UP","link_type":"ether","parentbus":"virtio","parentdev":"virtio2"},
{"ifindex":5,"ifname":"brigt7000","flags":["BROADCAST","MULTICAST"],"mtu":1500,"operstate":"DOWN","link_type":"ether","linkinfo":{"info_kind":"bridge","info_data":{"forward_delay":1500,"stp_state":0,"bridge_id":"8000.6e:be:7e:11:74:e4"}},"inet6_addr_gen_mode":"eui64"},
{"ifindex":7,"link_index":4,"ifname":"brigv7000","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1500,"master":"brigt7000","operstate":"UP","link_type":"ether","link_netnsid":0,"linkinfo":{"info_kind":"veth","info_slave_kind":"bridge","info_slave_data":{"state":"disabled","priority":32,"isolated":true,"locked":false}},"inet6_addr_gen_mode":"none","ifalias":"brig:vm/t1"}]`;

const IN_NAMESPACE = `[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK"],"mtu":65536,"operstate":"DOWN","link_type":"loopback"},
{"ifindex":2,"ifname":"tap7000","flags":["NO-CARRIER","BROADCAST","MULTICAST","UP"],"mtu":1500,"master":"brigb7000","operstate":"DOWN","linkinfo":{"info_kind":"tun","info_data":{"type":"tap","pi":false,"vnet_hdr":false,"multi_queue":false,"persist":true,"user":29000,"group":29000},"info_slave_kind":"bridge","info_slave_data":{"state":"disabled","isolated":false}}}]`;

describe('ip', () => {
  test('links have a kind, an alias and a bridge', () => {
    expect(parseLinks(ON_HOST)).toEqual([
      { name: 'lo', up: true, isolated: false, mtu: 65_536, addresses: [], filters: false },
      { name: 'eth0', up: true, isolated: false, mtu: 1400, addresses: [], filters: false },
      { name: 'brigt7000', up: false, isolated: false, mtu: 1500, addresses: [], filters: false, kind: 'bridge' },
      {
        ...{ name: 'brigv7000', up: true, isolated: true, mtu: 1500, addresses: [], filters: false },
        ...{ kind: 'veth', alias: 'brig:vm/t1', master: 'brigt7000' },
      },
    ]);
  });

  test('a tap has an owner', () => {
    expect(parseLinks(IN_NAMESPACE)[1]).toEqual({
      ...{ name: 'tap7000', up: true, isolated: false, mtu: 1500, addresses: [], filters: false },
      ...{ kind: 'tun', master: 'brigb7000', user: 29_000 },
    });
  });

  test('an owner that has a name is not taken for a number', () => {
    expect(parseLinks(IN_NAMESPACE.replace('"user":29000', '"user":"daemon"'))[1]).not.toHaveProperty('user');
  });

  test.each(['', '\n', '[]', '[{},{}]'])('%j is no link', (text) => {
    expect(parseLinks(text)).toEqual([]);
  });
});

describe('ps', () => {
  const text = `      1       0     0 Sun Nov 22 23:13:01 2026  5408 /process_api --firecracker-init
     12       2     0 Sun Nov  1 03:13:01 2026     0 [kworker/R-rcu_gp]
   7128    7125 29000 Mon Nov 23 05:13:01 2026 46424 /usr/bin/qemu-system-x86_64 -name brig-t1
  99999   99998 20001 Mon Nov 23 05:13:01 2026     0 
`;

  test('each line is a process, in UTC and bytes', () => {
    expect(parseProcesses(text).slice(1, 3)).toEqual([
      { pid: 12, ppid: 2, uid: 0, startedMs: Date.UTC(2026, 10, 1, 3, 13, 1), rssBytes: 0, args: '[kworker/R-rcu_gp]' },
      {
        pid: 7128,
        ppid: 7125,
        uid: 29_000,
        startedMs: Date.UTC(2026, 10, 23, 5, 13, 1),
        rssBytes: 46_424 * 1024,
        args: '/usr/bin/qemu-system-x86_64 -name brig-t1',
      },
    ]);
  });

  test('a process without a command line is one too', () => {
    expect(parseProcesses(text)[3]).toMatchObject({ pid: 99_999, args: '' });
  });
});

test('ldd: every library once, neither headers nor the vdso', () => {
  const text = `/usr/bin/setpriv:
	linux-vdso.so.1 (0x00007fec97fdd000)
	libcap-ng.so.0 => /lib/x86_64-linux-gnu/libcap-ng.so.0 (0x00007fec97faf000)
	libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007fec97dcd000)
	/lib64/ld-linux-x86-64.so.2 (0x00007fec97fdf000)
/usr/lib/x86_64-linux-gnu/qemu/accel-tcg-x86_64.so:
	linux-vdso.so.1 (0x00007f0e12332000)
	libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f0e12137000)
	/lib64/ld-linux-x86-64.so.2 (0x00007f0e12334000)
`;
  expect(parseLibraries(text)).toEqual([
    '/lib/x86_64-linux-gnu/libc.so.6',
    '/lib/x86_64-linux-gnu/libcap-ng.so.0',
    '/lib64/ld-linux-x86-64.so.2',
  ]);
});

describe('cgroups', () => {
  test.each([
    [memoryLimit(10_000_000, { version: 2, root: '/' }), '9998336'],
    [['io.max', '8:0 wiops=5 rbps=4096'] as const, '8:0 rbps=4096 wbps=max riops=max wiops=5'],
    [cpuLimit(50, { version: 2, root: '/' }), '50000 100000'],
    [cpusetLimit('0-1', { version: 2, root: '/' })[0] ?? (['', ''] as const), '0-1'],
    [ioLimit('8:0', { readIops: 7 }, { version: 1, root: '/' })[0] ?? (['', ''] as const), '8:0 7'],
  ])('%j reads back as %s', (setting, expected) => {
    expect(renderSetting(setting)).toBe(expected);
  });

  test('no rates, no line', () => {
    expect(ioLimit('8:0', {}, { version: 2, root: '/' })).toEqual([]);
  });

  const OLD = `tmpfs /sys/fs/cgroup tmpfs rw,relatime,mode=755 0 0
cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu 0 0
cgroup /sys/fs/cgroup/cpuacct cgroup rw,relatime,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,relatime,name=systemd 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
`;
  const NEW = 'cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime,nsdelegate,memory_recursiveprot 0 0\n';

  test('of version 1 have a root for each controller', () => {
    expect(findController('memory', OLD, '')).toEqual({ version: 1, root: '/sys/fs/cgroup/memory' });
    expect(findController('cpu', OLD, '')).toEqual({ version: 1, root: '/sys/fs/cgroup/cpu' });
    expect(unifiedRoot(OLD)).toBe('/sys/fs/cgroup/unified');
  });

  test('of version 2 have one root, for controllers that it hands down', () => {
    expect(findController('memory', NEW, 'cpu memory pids\n')).toEqual({ version: 2, root: '/sys/fs/cgroup' });
    expect(findController('memory', NEW, 'cpu pids\n')).toBeUndefined();
    expect(findController('memory', '', '')).toBeUndefined();
  });

  test('name their files by version', () => {
    expect(memoryLimit(1024, { version: 1, root: '/' })).toEqual(['memory.limit_in_bytes', '1024']);
    expect(memoryLimit(1024, { version: 2, root: '/' })).toEqual(['memory.max', '1024']);
    expect(cpuLimit(150, { version: 1, root: '/' })).toEqual(['cpu.cfs_quota_us', '150000']);
    expect(cpuLimit(150, { version: 2, root: '/' })).toEqual(['cpu.max', '150000 100000']);
  });
});

test('meminfo is in KiB', () => {
  const text = 'MemTotal:       24683656 kB\nMemFree:        24077976 kB\nMemAvailable:   24227320 kB\n';
  expect(parseMemory(text, 'MemTotal')).toBe(24_683_656 * 1024);
  expect(parseMemory(text, 'MemAvailable')).toBe(24_227_320 * 1024);
  expect(parseMemory('', 'MemAvailable')).toBeUndefined();
});

test.each([
  ['0-1\n', { count: 2, highest: 1 }],
  ['0', { count: 1, highest: 0 }],
  ['0-3,8,10-11', { count: 7, highest: 11 }],
  ['', { count: 0, highest: -1 }],
])('CPU list %j', (text, expected) => {
  expect(parseCpuList(text)).toEqual(expected);
});

test('passwd gives names to uids', () => {
  const users = parsePasswd('root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\n');
  expect([...users]).toEqual([
    [0, 'root'],
    [1, 'daemon'],
  ]);
});

test('the format of a base is told by its name', () => {
  expect([formatOf('/images/debian.qcow2'), formatOf('/images/debian.img'), formatOf('/images/qcow2')]).toEqual([
    'qcow2',
    'raw',
    'raw',
  ]);
});
