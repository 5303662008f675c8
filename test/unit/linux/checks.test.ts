import { describe, expect, test } from 'vitest';
import { precheck } from '../../../src/linux/checks.ts';
import type { Node } from '../../../src/linux/node.ts';
import { linuxPlatform } from '../../../src/linux/platform.ts';
import { checkHost, probeDevices, probeFeatures } from '../../../src/linux/probe.ts';
import type { Seen } from '../../../src/linux/observe.ts';
import type { Vm } from '../../../src/platform/platform.ts';
import { buildLink, buildHost, buildNode, buildSeen, buildVm, type Files } from './build.ts';

const MEMINFO = 'MemTotal:        8388608 kB\nMemAvailable:    4194304 kB\n';
const HOST: Files = {
  '/proc/meminfo': MEMINFO,
  '/proc/self/status': 'Name:\tnode\nUid:\t0\t0\t0\t0\n',
  '/etc/passwd': 'root:x:0:0:root:/root:/bin/bash\nalice:x:20007:20007::/home/alice:/bin/sh\n',
  '/sys/devices/system/cpu/online': '0-3\n',
  '/dev/net/tun': { kind: 'device', mode: 0o666 },
  ...Object.fromEntries(
    ['qemu-system-x86_64', 'bwrap', 'ps', 'pgrep', 'pkill', 'nsenter', 'setpriv', 'prlimit', 'taskset', 'ldd'].map(
      (name) => [`/usr/bin/${name}`, {}],
    ),
  ),
  '/usr/sbin/ip': {},
};

const problems = async (vm: Vm, options: { files?: Files; seen?: Seen; node?: Node } = {}): Promise<string[]> => {
  const { host } = buildHost({ ...HOST, ...options.files });
  const findings = await precheck(host, options.node ?? buildNode(), options.seen ?? buildSeen(), vm);
  return findings.map(({ level, what, got }) => `${level}: ${what}: ${got}`);
};

const disks = (...each: unknown[]): Vm => buildVm({ disks: each });

describe('a start is refused', () => {
  test('for nothing when all is there', async () => {
    expect(await problems(buildVm({ nics: [{}], disks: [{ file: { size: '1G' } }] }))).toEqual([]);
  });

  test.each<[string, Vm, string]>([
    ['a zvol', disks({ zvol: { size: '1G' } }), 'problem: disk 0 of kind file or image on Linux: zvol'],
    [
      'a direct NIC',
      buildVm({ nics: [{ mode: 'direct' }] }),
      "problem: nic 0 of mode vnet on Linux: direct: a tap on the host bridge cannot be opened from the VM's namespace",
    ],
    ['too many CPUs', buildVm({ cpus: 5 }), "problem: cpus at most 4, the host's: 5"],
    ['CPUs that are not there', buildVm({ limits: { cpuset: '2-4' } }), 'problem: limits.cpuset within 0-3: 2-4'],
    [
      'a limit below what QEMU needs',
      buildVm({ memory: '256M', limits: { memory: '256M' } }),
      "problem: limits.memory of at least 640M: the guest's memory and QEMU itself: 256M",
    ],
    ['a file that is not there', buildVm({ firmware: { rom: '/fw/rom' } }), 'problem: file /fw/rom: nothing there'],
    ['an image that is a directory', disks({ image: '/img' }), 'problem: file /img: a directory'],
    [
      'an image that its uid cannot read',
      disks({ image: '/secret.img' }),
      'problem: file /secret.img readable for everybody: mode 600',
    ],
    [
      'a base without qemu-img',
      disks({ file: { size: '1G', from: '/base.img' } }),
      'problem: /usr/bin/qemu-img for a disk with from: nothing there',
    ],
    [
      'a bridge that is not there',
      buildVm({ nics: [{ network: 'lan' }] }, false),
      'problem: bridge br0 of network lan: no such interface',
    ],
  ])('for %s', async (_, vm, expected) => {
    const files: Files = { '/img': { kind: 'directory' }, '/secret.img': { mode: 0o600 }, '/base.img': {} };
    const node = buildNode({ memory: { version: 1, root: '/sys/fs/cgroup/memory' } });
    expect(await problems(vm, { files, node })).toEqual([expected]);
  });

  test('for more memory than there is; less that is not free is told', async () => {
    expect(await problems(buildVm({ memory: '16G' }))).toContain("problem: memory at most 8G, the host's: 16G");
    expect(await problems(buildVm({ memory: '6G' }))).toEqual(['warning: 6G of free memory: 4G']);
  });

  test('for limits that nobody would keep', async () => {
    expect(await problems(buildVm({ limits: { memory: '1G', pcpu: 50 } }))).toEqual([
      'problem: cgroup controller memory for limits.memory: none on this host',
      'problem: cgroup controller cpu for limits.pcpu: none on this host',
    ]);
  });

  test("for a uid that is somebody's", async () => {
    const vm = buildVm();
    const place = { ...vm.place, uid: 20_007 };
    const stranger = { pid: 7, ppid: 1, uid: 20_007, startedMs: 0, rssBytes: 0, args: '/bin/sh' };
    expect(await problems({ ...vm, place }, { seen: buildSeen({ processes: [stranger] }) })).toEqual([
      'problem: uid 20007 in no passwd entry: user alice',
      'problem: uid 20007 without processes: process 7: /bin/sh',
    ]);
  });

  test("for interfaces that are strangers'", async () => {
    const links = new Map(
      [
        buildLink('brigv7001', { kind: 'veth', up: true }),
        buildLink('bridge7000', { kind: 'bridge', up: true, alias: 'mine' }),
      ].map((link) => [link.name, link]),
    );
    expect(await problems(buildVm({ nics: [{}] }), { seen: buildSeen({ links }) })).toEqual([
      'problem: interface brigv7001 free or marked brig:vm/web01: in use: no alias',
      'problem: interface bridge7000 free or marked brig:net/default: in use: mine',
    ]);
  });

  test('for what the node lacks', async () => {
    const node = {
      ...buildNode(),
      findings: [{ level: 'problem', what: 'programs', got: 'missing /usr/bin/bwrap' }],
    } as const;
    expect(await problems(buildVm(), { node })).toEqual(['problem: programs: missing /usr/bin/bwrap']);
  });
});

describe('a host', () => {
  const check = async (files: Files): Promise<string[]> => {
    const { host } = buildHost({ ...HOST, ...files });
    const findings = await checkHost(host, await probeFeatures(host, 'auto', '/rom'));
    return findings.map(
      ({ level, what, got, mend }) => `${level}: ${what}: ${got}${mend === undefined ? '' : `: ${mend}`}`,
    );
  };

  test('without cgroups and KVM works, and is told what it lacks', async () => {
    expect(await check({})).toEqual([
      'ok: root: brigd is root',
      'ok: programs: all there',
      'ok: /dev/net/tun: there',
      'warning: acceleration: tcg, which is slow: no /dev/kvm: chgrp kvm /dev/kvm && chmod 660 /dev/kvm, where KVM works',
      'warning: memory limits: no cgroup controller memory: VMs that ask for it are refused: echo +memory > /sys/fs/cgroup/cgroup.subtree_control',
      'warning: cpu limits: no cgroup controller cpu: VMs that ask for it are refused: echo +cpu > /sys/fs/cgroup/cgroup.subtree_control',
      'warning: cpuset limits: no cgroup controller cpuset: taskset(1) is used instead: echo +cpuset > /sys/fs/cgroup/cgroup.subtree_control',
      'warning: pids limits: no cgroup controller pids: the uid is bounded by prlimit(1) instead: echo +pids > /sys/fs/cgroup/cgroup.subtree_control',
      'warning: io limits: no cgroup controller io: VMs that ask for it are refused: echo +io > /sys/fs/cgroup/cgroup.subtree_control',
    ]);
  });

  test('has the block devices of its file systems, whole disks only', async () => {
    const mounts = ['8:1 / /', '8:17 / /var/db', '0:30 / /mnt/pool', '253:0 / /srv\\040x'];
    const { host } = buildHost({
      '/proc/self/mountinfo': mounts.map((each) => `27 1 ${each} rw,relatime shared:1 - ext4 /dev/x rw\n`).join(''),
      '/sys/dev/block/8:1/partition': '1\n',
      '/sys/dev/block/8:1/../dev': '8:0\n',
      '/sys/dev/block/8:17/partition': '1\n',
      '/sys/dev/block/8:17/../dev': '8:16\n',
    });
    const devices = await probeDevices(host);
    const paths = ['/img', '/var/db/brig/disk0', '/var/dbx', '/mnt/pool/a', '/srv x/a'];
    expect(paths.map((path) => devices.find(path))).toEqual(['8:0', '8:16', '8:0', undefined, '253:0']);
  });

  test('without programs is told their packages', async () => {
    const { host } = buildHost({ '/proc/self/status': 'Uid:\t1000\t1000\t1000\t1000\n' });
    const findings = await checkHost(host, buildNode().features);
    expect(findings.filter(({ level }) => level === 'problem').map(({ what, mend }) => [what, mend])).toEqual([
      ['brigd as root', 'start brigd as root'],
      ['programs', 'apt-get install qemu-system-x86 bubblewrap iproute2 procps util-linux'],
      ['/dev/net/tun', 'modprobe tun'],
    ]);
  });

  test('with cgroups of version 2 has what their root hands down', async () => {
    const { host } = buildHost(
      {
        ...HOST,
        '/proc/self/limits': 'Max locked memory         unlimited            unlimited            bytes\n',
        '/proc/mounts': 'cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n',
        '/sys/fs/cgroup/cgroup.subtree_control': 'cpuset cpu memory pids\n',
      },
      { '/usr/bin/qemu-system-x86_64': { stdout: 'Storage devices:\nname "nvme", bus PCI\n' } },
    );
    const root = { version: 2, root: '/sys/fs/cgroup' };
    expect(await probeFeatures(host, 'tcg', '/rom')).toEqual({
      accel: 'tcg',
      cpus: 4,
      memoryBytes: 8 * 2 ** 30,
      locksMemory: true,
      readsPasswords: true,
      models: new Set(['nvme']),
      memory: root,
      cpu: root,
      cpuset: root,
      pids: root,
    });
  });
});

describe('KVM', () => {
  const kvm = { kind: 'device', mode: 0o660, gid: 106 } as const;
  const QEMU = '/usr/bin/qemu-system-x86_64';
  const up = { stdout: 'GUEST UP\r\nOFF\r\n' };

  test.each([
    ['is used where the test guest comes and goes', kvm, up, { accel: 'kvm', kvmGroup: 106 }],
    ['needs no group where it is open', { ...kvm, mode: 0o666, gid: 0 }, up, { accel: 'kvm' }],
    [
      'is not used where the guest hangs',
      kvm,
      { ...up, timedOut: true },
      { accel: 'tcg', kvmTrouble: 'the test guest did not come and go within 1 s under KVM' },
    ],
    [
      'is not used where the guest is mute',
      kvm,
      {},
      { accel: 'tcg', kvmTrouble: 'the test guest did not come and go within 1 s under KVM' },
    ],
    [
      'is not used where only root may',
      { ...kvm, mode: 0o600, gid: 0 },
      up,
      { accel: 'tcg', kvmTrouble: '/dev/kvm is closed to all but root (mode 600)' },
    ],
  ] as const)('%s', async (_, node, answer, expected) => {
    const { host } = buildHost({ ...HOST, '/dev/kvm': node }, { [QEMU]: answer });
    expect(await probeFeatures(host, 'auto', '/rom')).toMatchObject(expected);
  });

  test('that is configured and does not work is a problem', async () => {
    const { host } = buildHost(HOST);
    const findings = await checkHost(host, await probeFeatures(host, 'kvm', '/rom'));
    expect(findings.find(({ what }) => what === 'KVM, as configured')).toMatchObject({
      level: 'problem',
      got: 'no /dev/kvm',
    });
  });

  test('is not tried where nobody wants it', async () => {
    const { host, ran } = buildHost({ ...HOST, '/dev/kvm': kvm });
    expect(await probeFeatures(host, 'tcg', '/rom')).toMatchObject({ accel: 'tcg' });
    expect(ran.map(({ args }) => args.at(-1))).toEqual(['none,password-secret=screen', 'help']);
  });
});

describe('what is live', () => {
  const platform = linuxPlatform({
    paths: { stateDir: '/var/db/brig', runDir: '/run/brig' },
    accel: 'tcg',
    allowDevices: [],
  });
  const supervisor = {
    pid: 5,
    ppid: 1,
    uid: 0,
    startedMs: 1,
    rssBytes: 2,
    args: '/bin/sh /run/brig/supervise.sh qemu web01 /run',
  };
  const qemu = {
    pid: 7,
    ppid: 6,
    uid: 20_001,
    startedMs: 1000,
    rssBytes: 2048,
    args: '/usr/bin/qemu-system-x86_64 -name brig-web01',
  };
  const focus = (ready: boolean) => ({
    focus: {
      vm: 'web01',
      inside: new Map(),
      limits: new Map(),
      runFiles: new Set<string>(),
      configFiles: new Set<string>(),
      hasTpm: false,
      mounts: new Set<string>(),
      ready,
    },
  });
  const found = { pid: 7, sinceMs: 1000, rssBytes: 2048 };

  test.each<[string, Partial<Seen>, object]>([
    ['nothing', {}, { phase: 'absent', supervised: false }],
    ['a run directory', { runDirs: new Set(['web01']) }, { phase: 'residue', supervised: false }],
    ['a namespace', { spaces: new Set(['brig-web01']) }, { phase: 'residue', supervised: false }],
    ['a cgroup', { cgroups: new Set(['/sys/fs/cgroup/memory/brig-web01']) }, { phase: 'residue', supervised: false }],
    ['a supervisor', { processes: [supervisor] }, { phase: 'booting', supervised: true }],
    ['QEMU', { processes: [supervisor, qemu] }, { phase: 'running', supervised: true, ...found }],
    [
      'QEMU that is not ready',
      { processes: [supervisor, qemu], ...focus(false) },
      { phase: 'booting', supervised: true, ...found },
    ],
    ['QEMU alone', { processes: [qemu], ...focus(true) }, { phase: 'running', supervised: false, ...found }],
  ])('%s', (_, seen, expected) => {
    expect(platform.live(buildSeen(seen), buildVm())).toEqual(expected);
  });

  test('owned are names in marks, not strangers', () => {
    const links = new Map(
      [buildLink('brigv1', { alias: 'brig:vm/a' }), buildLink('br0', { alias: 'brig:net/default' })].map((link) => [
        link.name,
        link,
      ]),
    );
    const seen = buildSeen({
      links,
      spaces: new Set(['brig-b', 'docker', 'brig-']),
      cgroups: new Set(['/sys/fs/cgroup/brig-c']),
      runDirs: new Set(['d']),
    });
    expect([...platform.owned(seen).keys()].sort()).toEqual(['a', 'b', 'c', 'd']);
  });
});
