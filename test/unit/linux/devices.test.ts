import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, expect, test } from 'vitest';
import { precheck } from '../../../src/linux/checks.ts';
import { DEVICES } from '../../../src/linux/devices.ts';
import { limitsOf } from '../../../src/linux/limits.ts';
import type { Node } from '../../../src/linux/node.ts';
import { startSteps } from '../../../src/linux/plan.ts';
import { readOnly } from '../../../src/linux/programs/bwrap.ts';
import { BESIDE } from '../../../src/linux/tpm.ts';
import type { Vm } from '../../../src/platform/platform.ts';
import { apply, buildHost, buildNode, buildSeen, buildVm, find, holds, partsOfVm, qemuOfVm, undo } from './build.ts';

const words = (vm: Vm): string => qemuOfVm(vm).join(' ');
const inDevices = (devices: Record<string, unknown>): Vm => buildVm({ devices });

describe('a device', () => {
  test.each<[string, Vm, string]>([
    ['nvme', buildVm({ disks: [{ file: { size: '1M' }, device: 'nvme' }] }), '-device nvme,drive=disk0,serial=disk0'],
    [
      'ahci-hd',
      buildVm({ disks: [{ file: { size: '1M' }, device: 'ahci-hd' }] }),
      '-device ich9-ahci,id=ahci0 -device ide-hd,drive=disk0,bus=ahci0.0',
    ],
    [
      'ahci-cd after another',
      buildVm({
        disks: [
          { file: { size: '1M' }, device: 'ahci-hd' },
          { image: '/a.iso', device: 'ahci-cd' },
        ],
      }),
      '-device ide-cd,drive=disk1,bus=ahci0.1',
    ],
    [
      'e1000',
      buildVm({ nics: [{ device: 'e1000' }] }),
      '-netdev tap,id=net0,ifname=tap7001,script=no,downscript=no -device e1000,netdev=net0,mac=58:9c:fc:00:00:00,romfile=',
    ],
    [
      'virtio-console',
      inDevices({ 'virtio-console': ['a', 'b'] }),
      '-device virtio-serial-pci,id=ports -chardev socket,id=port0,path=/sock/port-a,server=on,wait=off ' +
        '-device virtserialport,bus=ports.0,chardev=port0,name=a ' +
        '-chardev socket,id=port1,path=/sock/port-b,server=on,wait=off -device virtserialport,bus=ports.0,chardev=port1,name=b',
    ],
    [
      'virtio-9p',
      inDevices({ 'virtio-9p': [{ name: 'data', path: '/srv' }] }),
      '-fsdev local,id=fs0,path=/share/data,security_model=none,readonly=on -device virtio-9p-pci,fsdev=fs0,mount_tag=data',
    ],
    [
      'fbuf',
      inDevices({ fbuf: {} }),
      '-vnc unix:/sock/vnc -device bochs-display,vgamem=16M,xres=1024,yres=768,romfile= -device qemu-xhci,id=usb,p2=2,p3=2 -device usb-tablet,bus=usb.0',
    ],
    ['fbuf that is large', inDevices({ fbuf: { width: 3840, height: 2160 } }), 'vgamem=32M,xres=3840,yres=2160'],
    [
      'tpm',
      inDevices({ tpm: true }),
      '-chardev socket,id=tpm,path=/vm/tpm.ctrl -tpmdev emulator,id=tpm0,chardev=tpm -device tpm-crb,tpmdev=tpm0',
    ],
  ])('%s is told to QEMU', (_, vm, expected) => {
    expect(words(vm)).toContain(expected);
  });

  test('that nobody asked for is not there', () => {
    const asked = qemuOfVm(buildVm({ devices: { 'virtio-rnd': false } }));
    expect(asked).not.toContain('-device');
    expect(qemuOfVm(buildVm()).filter((word) => word === '-device')).toHaveLength(1);
  });

  test('kinds have one row each', () => {
    const names = DEVICES.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
  });

  test('never listens on the network', () => {
    const all = inDevices({ fbuf: {}, tpm: true, 'virtio-console': ['a'] });
    expect(words(all)).not.toMatch(/\b(host|port|tcp|telnet|websocket)=|-vnc (?!unix:)/);
  });
});

const bindsOf = (vm: Vm): string => {
  const written = apply(find(vm, 'run-dir.create')).find((each) => each.do === 'write');
  return written?.do === 'write' ? written.text.replaceAll('\0', ' ') : '';
};

describe('the sandbox of a device', () => {
  test('has what it needs and no more', () => {
    const text = bindsOf(
      inDevices({
        ...{ fbuf: {}, tpm: true, 'virtio-console': ['a'] },
        'virtio-9p': [
          { name: 'data', path: '/srv/data' },
          { name: 'home', path: '/srv/home', readOnly: false },
        ],
      }),
    );
    expect(text).toContain('--ro-bind /srv/data /share/data --bind /srv/home /share/home ');
    expect(text).toContain('--ro-bind /usr/share/qemu/keymaps/en-us /usr/share/qemu/keymaps/en-us ');
    expect(text).toContain('--ro-bind /var/db/brig/vms/web01/tpm/ctrl /vm/tpm.ctrl ');
    expect(text).toContain('--bind /run/brig/vms/web01/sock /sock --remount-ro / ');
  });

  test('has the tun node once, however many NICs', () => {
    expect(bindsOf(buildVm({ nics: [{}, {}] })).split('--dev-bind /dev/net/tun').length).toBe(2);
  });

  test('has no writable directory without sockets', () => {
    expect(bindsOf(buildVm({ nics: [{}], disks: [{ image: '/a.iso', device: 'ahci-cd' }] }))).not.toContain(' --bind ');
  });
});

describe('sockets', () => {
  const vm = inDevices({ fbuf: {} });
  const path = '/run/brig/vms/web01/sock';

  test('have a small file system that is undone first and tolerated when gone', () => {
    const step = find(vm, 'sockets.mount');
    expect(apply(step)).toMatchObject([
      { do: 'mkdir', path, access: { mode: 0o700, uid: 0 } },
      {
        do: 'run',
        command: { args: expect.arrayContaining([expect.stringMatching(/size=64k.*uid=20001.*noexec/)]) as unknown },
      },
    ]);
    expect(undo(step)).toMatchObject([
      { tolerate: [{ stderr: 'not mounted' }, { status: 32 }] },
      { do: 'rmdir', path },
    ]);
    const kinds = startSteps(buildNode(), vm, 'run-1', 0).map(({ kind }) => kind);
    expect(kinds.indexOf('sockets.mount')).toBeLessThan(kinds.indexOf('qemu.start'));
  });

  test.each([
    [[], [], 'no'],
    [['sock'], [], 'partly'],
    [['sock'], [path], 'yes'],
  ] as const)('of a run directory with %j and mounts %j hold: %s', (files, mounts, expected) => {
    const focus = { vm: 'web01', inside: new Map(), limits: new Map(), ready: true, hasTpm: false };
    const seen = buildSeen({
      focus: { ...focus, runFiles: new Set(files), configFiles: new Set<string>(), mounts: new Set(mounts) },
    });
    expect(holds(find(vm, 'sockets.mount'), seen)).toBe(expected);
  });
});

describe('a TPM', () => {
  const node = buildNode({}, { tpm: [readOnly('/usr/bin/swtpm')] });

  test('is started before QEMU, in a sandbox of its own', () => {
    const step = find(inDevices({ tpm: true }), 'qemu.start', node);
    const spawn = apply(step).find((each) => each.do === 'spawn');
    const line = spawn?.do === 'spawn' ? spawn.command.args.join(' ') : '';
    expect(line).toMatch(
      /-- \/bin\/sh \/run\/brig\/vms\/web01\/beside\.sh \/var\/db\/brig\/vms\/web01\/tpm\/ctrl \d+ \/usr\/bin\/prlimit --core=1 .*--fsize=1048576 \/usr\/bin\/bwrap .*--unshare-net .*--remount-ro \/ -- \/usr\/bin\/setpriv --reuid 20001 .*\/usr\/bin\/swtpm socket .*mode=0600 \/usr\/bin\/prlimit .*qemu-system/,
    );
    const count = Number(/ctrl (\d+) /.exec(line)?.[1]);
    const rest = line
      .slice(line.indexOf(`ctrl ${count} `))
      .split(' ')
      .slice(2);
    expect(rest[count - 1]).toBe('type=unixio,path=/tpm/ctrl,mode=0600');
  });

  test('is missed by name where swtpm is not installed', async () => {
    const { host } = buildHost({ '/proc/meminfo': 'MemAvailable: 4194304 kB\n' });
    const check = async (on: Node) =>
      (await precheck(host, on, buildSeen(), inDevices({ tpm: true }))).map(({ mend }) => mend);
    expect(await check(buildNode())).toEqual(['apt-get install swtpm, then restart brigd']);
    expect(await check(node)).toEqual([]);
  });

  test('is served by a script that starts one program and becomes the other', () => {
    const dir = mkdtempSync(`${tmpdir()}/brig-beside-`);
    const script = `${dir}/beside.sh`;
    writeFileSync(script, BESIDE);
    const code = 'require("node:net").createServer().listen(process.argv[1]); setTimeout(() => process.exit(), 500)';
    const first = ['/usr/bin/env', 'A=b c', process.execPath, '-e', code, `${dir}/s`];
    const second = ['/bin/echo', 'second', 'a  b', '$x'];
    // Descriptor 7 as supervise.sh leaves it: each of the two reads all of it.
    writeFileSync(`${dir}/filter`, 'filter');
    const open = `exec 7<"$1"; shift; exec /bin/sh "$@"`;
    const words = [script, `${dir}/s`, String(first.length), ...first, ...second];
    const ran = spawnSync('/bin/sh', ['-c', open, 'sh', `${dir}/filter`, ...words], { encoding: 'utf8' });
    expect([ran.status, ran.stdout, ran.stderr]).toEqual([0, 'second a  b $x\n', '']);
    const failed = spawnSync('/bin/sh', [script, `${dir}/none`, '1', '/bin/false', ...second], { encoding: 'utf8' });
    expect([failed.status, failed.stdout]).toEqual([71, '']);
    rmSync(dir, { recursive: true });
  });
});

describe('a document is refused', () => {
  const problems = async (vm: Vm, node = buildNode()): Promise<string[]> => {
    const { host } = buildHost({ '/a.iso': {}, '/srv': { kind: 'directory', mode: 0o750 } });
    return (await precheck(host, node, buildSeen(), vm)).map(({ what, got }) => `${what}: ${got}`);
  };

  test.each<[string, Vm, string]>([
    ['hda', inDevices({ hda: { play: '/dev/dsp0' } }), 'no device hda on Linux: hda'],
    ['virtio-scsi', inDevices({ 'virtio-scsi': ['/dev/cam/ctl1.0'] }), 'no device virtio-scsi on Linux: virtio-scsi'],
    [
      'passthru',
      buildVm({ unconfined: true, devices: { passthru: ['ppt0'] } }),
      'no device passthru on Linux: passthru',
    ],
    [
      'e1000 without leave',
      buildVm({ nics: [{ device: 'e1000' }] }),
      'device e1000 allowed on this node: not in allowDevices: its emulation has a record of escapes',
    ],
    [
      'a read-only ahci-hd',
      buildVm({ disks: [{ image: '/a.iso', device: 'ahci-hd' }] }),
      'image 0 on virtio-blk, nvme or ahci-cd: on Linux an ahci-hd cannot be read-only: ahci-hd',
    ],
    [
      'a share that the uid cannot enter',
      inDevices({ 'virtio-9p': [{ name: 'a', path: '/srv' }] }),
      'directory /srv open to everybody: mode 750',
    ],
    [
      'threads that QEMU needs',
      buildVm({ limits: { threads: 20 } }),
      'limits.threads of at least 81, which QEMU may need: 20',
    ],
    [
      'rates where nothing keeps them',
      buildVm({ limits: { readBps: '1M' } }),
      'cgroup controller io for limits of bytes and operations a second: none on this host',
    ],
  ])('with %s', async (_, vm, expected) => {
    expect(await problems(vm)).toEqual([expected]);
  });

  test('with devices that this QEMU lacks', async () => {
    expect(await problems(buildVm(), buildNode({ models: new Set() }))).toEqual([
      'QEMU with virtio-rng-pci: not in its -device help',
    ]);
  });

  test('with rates on a file system without a block device', async () => {
    const io = { version: 2, root: '/sys/fs/cgroup' } as const;
    const vm = buildVm({ disks: [{ file: { size: '1M' } }], limits: { readBps: '1M' } });
    const node = buildNode({ io }, { devices: { find: () => undefined } });
    expect(await problems(vm, node)).toEqual([
      'disks on a block device for limits of bytes and operations a second: a file system without one',
    ]);
  });

  test('with wired where memory cannot be locked', async () => {
    expect(await problems(buildVm({ wired: true }), buildNode({ locksMemory: false }))).toEqual([
      'the right to lock memory for wired: true: brigd lacks CAP_SYS_RESOURCE, and its limit of locked memory is too low',
    ]);
  });
});

describe('limits', () => {
  const controllers = (version: 1 | 2) => {
    const at = (name: string) => ({ version, root: version === 2 ? '/cg' : `/cg/${name}` });
    return {
      memory: at('memory'),
      cpu: at('cpu'),
      cpuset: { ...at('cpuset'), memoryNodes: '0-1' },
      pids: at('pids'),
      io: at('io'),
    };
  };
  const limits = (vm: Vm, node: Node) => limitsOf(node, vm, partsOfVm(vm));
  const asked = buildVm({
    disks: [{ file: { size: '1M' } }],
    limits: { cpuset: '0-1', memory: '1G', pcpu: 50, threads: 100, readBps: '1M', writeIops: 10 },
  });

  test('of version 2 share a directory', () => {
    expect(limits(asked, buildNode(controllers(2))).groups).toEqual([
      {
        dir: '/cg/brig-web01',
        set: [
          ['memory.max', String(2 ** 30)],
          ['cpu.max', '50000 100000'],
          ['cpuset.cpus', '0-1'],
          ['pids.max', '112'],
          ['io.max', '8:0 rbps=1048576 wiops=10'],
        ],
      },
    ]);
  });

  test('of version 1 have a directory each', () => {
    expect(limits(asked, buildNode(controllers(1))).groups).toEqual([
      { dir: '/cg/memory/brig-web01', set: [['memory.limit_in_bytes', String(2 ** 30)]] },
      { dir: '/cg/cpu/brig-web01', set: [['cpu.cfs_quota_us', '50000']] },
      {
        dir: '/cg/cpuset/brig-web01',
        set: [
          ['cpuset.mems', '0-1'],
          ['cpuset.cpus', '0-1'],
        ],
      },
      { dir: '/cg/pids/brig-web01', set: [['pids.max', '112']] },
      {
        dir: '/cg/io/brig-web01',
        set: [
          ['blkio.throttle.read_bps_device', '8:0 1048576'],
          ['blkio.throttle.write_iops_device', '8:0 10'],
        ],
      },
    ]);
  });

  test('are there where the document says nothing', () => {
    const { groups, rlimits, cpuset } = limits(buildVm({ cpus: 2, memory: '256M' }), buildNode(controllers(2)));
    expect(groups[0]?.set).toEqual([
      ['memory.max', String((256 + 384) * 2 ** 20)],
      ['pids.max', '94'],
    ]);
    expect(rlimits).toEqual({ tasks: 82, openFiles: 136, lockedMemory: false, fileBytes: 64 * 2 ** 20 });
    expect(cpuset).toBeUndefined();
  });

  test.each([
    ['the largest disk', { disks: [{ file: { size: '1G' } }, { file: { size: '3G' } }] }, 3 * 2 ** 30],
    [
      "an overlay's tables beside its data",
      { disks: [{ file: { size: '4G', from: '/a.img' } }] },
      2 ** 32 + 2 * 2 ** 20,
    ],
    [
      'nothing where a guest makes files',
      { devices: { 'virtio-9p': [{ name: 'a', path: '/a', readOnly: false }] } },
      undefined,
    ],
  ])('of a file are %s', (_, document, bytes) => {
    expect(limits(buildVm(document), buildNode()).rlimits.fileBytes).toBe(bytes);
  });

  test('without cgroups are those of the process', () => {
    const { groups, rlimits, cpuset } = limits(asked, buildNode());
    expect([groups, rlimits.tasks, cpuset]).toEqual([[], 100, '0-1']);
  });

  test('grow with devices, and with memory that is locked', () => {
    const vm = inDevices({ fbuf: {}, tpm: true });
    const { rlimits, groups } = limits(vm, buildNode(controllers(2)));
    expect(rlimits.tasks).toBe(87);
    expect(groups[0]?.set[0]?.[1]).toBe(String((256 + 384 + 8 * 16 + 32) * 2 ** 20));
    const wired = limits(buildVm({ wired: true }), buildNode(controllers(2)));
    expect(wired.rlimits.lockedMemory).toBe(true);
    expect(wired.groups[0]?.set[0]?.[1]).toBe(String((256 + 384 + 81 * 8) * 2 ** 20));
  });

  test('of rates bypass the page cache', () => {
    expect(words(asked).match(/"cache":\{"direct":true\}/g)).toHaveLength(2);
    expect(words(buildVm({ disks: [{ file: { size: '1M' } }] }))).not.toContain('cache');
  });

  test('are undone by one process, which tries again while any is busy', () => {
    const step = find(asked, 'cgroup.create', buildNode(controllers(1)));
    expect(undo(step)).toMatchObject([
      {
        command: {
          program: '/usr/bin/rmdir',
          args: ['memory', 'cpu', 'cpuset', 'pids', 'io'].map((name) => `/cg/${name}/brig-web01`),
        },
      },
    ]);
    const seen = (...dirs: string[]) =>
      holds(step, buildSeen({ cgroups: new Set(dirs.map((name) => `/cg/${name}/brig-web01`)) }));
    expect([seen(), seen('cpu'), seen('memory', 'cpu', 'cpuset', 'pids', 'io')]).toEqual(['no', 'partly', 'yes']);
  });
});
