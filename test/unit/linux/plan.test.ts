import { describe, expect, test } from 'vitest';
import type { Effect } from '../../../src/base/host.ts';
import { nicNames } from '../../../src/linux/node.ts';
import { uuidOf } from '../../../src/platform/uuid.ts';
import type { Focus, Seen } from '../../../src/linux/observe.ts';
import { createSteps, startSteps } from '../../../src/linux/plan.ts';
import type { Link } from '../../../src/linux/programs/ip.ts';
import type { Vm } from '../../../src/platform/platform.ts';
import { buildLink, apply, buildNode, buildSeen, buildVm, definition, find, holds, qemuOfVm, undo } from './build.ts';

const node = buildNode();
/** Commands as words, with their standard input. */
const lines = (effects: readonly Effect[]): string[] =>
  effects.flatMap((effect) => {
    if (effect.do === 'run' || effect.do === 'spawn') {
      const { program, args, stdin } = effect.command;
      return [[program, ...args].join(' ') + (stdin === undefined ? '' : ` << ${stdin.trim().replaceAll('\n', '; ')}`)];
    }
    return [`${effect.do} ${'path' in effect ? effect.path : ''}`];
  });

describe('a plan', () => {
  test('of the smallest VM has three steps', () => {
    expect(startSteps(node, buildVm(), 'run-1', 0).map(({ kind }) => kind)).toEqual([
      'run-dir.create',
      'netns.create',
      'qemu.start',
    ]);
    expect(createSteps(node, buildVm()).map(({ kind }) => kind)).toEqual(['disk-dir.create']);
  });

  test('makes what QEMU uses before QEMU', () => {
    const on = buildNode({
      memory: { version: 1, root: '/sys/fs/cgroup/memory' },
      cpu: { version: 1, root: '/sys/fs/cgroup/cpu' },
    });
    const vm = buildVm({ nics: [{}], limits: { pcpu: 50 } });
    expect(startSteps(on, vm, 'run-1', 0).map(({ kind }) => kind)).toEqual([
      'run-dir.create',
      'cgroup.create',
      'netns.create',
      'bridge.create',
      'veth.create',
      'veth.add',
      'tap.create',
      'netns.join',
      'qemu.start',
    ]);
  });

  test("never makes a bridge that is somebody else's", () => {
    expect(
      startSteps(node, buildVm({ nics: [{ network: 'lan' }] }, false), 'run-1', 0).map(({ kind }) => kind),
    ).not.toContain('bridge.create');
  });

  test('keeps disks and firmware variables apart from runs', () => {
    const vm = buildVm({
      firmware: { uefi: { code: '/fw/code.fd', vars: '/fw/vars.fd' } },
      disks: [{ file: { size: '1G' } }, { file: { size: '1G', from: '/img/a.img' } }, { image: '/img/b.iso' }],
    });
    expect(createSteps(node, vm).map(({ kind }) => kind)).toEqual([
      'disk-dir.create',
      'vars.copy',
      'disk.create',
      'disk.create',
    ]);
    expect(createSteps(node, vm).every((step) => definition(step).keeps)).toBe(true);
  });

  test('is data', () => {
    const vm = buildVm({ nics: [{}], disks: [{ file: { size: '1G' } }] });
    const steps = [...createSteps(node, vm), ...startSteps(node, vm, 'run-1', 0)];
    expect(JSON.parse(JSON.stringify(steps))).toEqual(steps);
  });

  test('says why', () => {
    const vm = buildVm({ nics: [{}], disks: [{ file: { size: '1G' } }] });
    for (const step of [...createSteps(node, vm), ...startSteps(node, vm, 'run-1', 0)])
      expect(definition(step).because(step.args)).toMatch(/web01|default/);
  });
});

test('interface names fit the kernel, for the highest unit', () => {
  expect(Object.values(nicNames(50_000)).every((name) => name.length <= 15)).toBe(true);
});

describe('networks', () => {
  const vm = buildVm({ nics: [{}] });

  test('are made by name and marked', () => {
    expect(
      lines(
        ['bridge.create', 'veth.create', 'veth.add', 'tap.create', 'netns.join'].flatMap((kind) =>
          apply(find(vm, kind)),
        ),
      ),
    ).toEqual([
      '/usr/sbin/ip link add name bridge7000 type bridge',
      '/usr/sbin/ip -batch - << link set dev bridge7000 alias brig:net/default; link set dev bridge7000 addrgenmode none; link set dev bridge7000 up',
      '/usr/sbin/ip -batch - << link add name brigv7001 type veth peer name brigp7001 netns brig-web01; link set dev brigv7001 alias brig:vm/web01; link set dev brigv7001 addrgenmode none',
      '/usr/sbin/ip -batch - << link set dev brigv7001 master bridge7000; link set dev brigv7001 type bridge_slave isolated on; link set dev brigv7001 up',
      '/usr/sbin/ip -n brig-web01 -batch - << tuntap add dev tap7001 mode tap user 20001; link set dev tap7001 addrgenmode none; link set dev tap7001 up',
      '/usr/sbin/ip -n brig-web01 link delete dev brigb7001',
      '/usr/sbin/ip -n brig-web01 -batch - << link add name brigb7001 type bridge; link set dev brigb7001 addrgenmode none; link set dev brigb7001 up; link set dev brigp7001 addrgenmode none; link set dev brigp7001 master brigb7001 up; link set dev tap7001 master brigb7001',
    ]);
  });

  test('are shared by name', () => {
    const step = find(vm, 'bridge.create');
    expect(definition(step).shared?.(step.args)).toBe('bridge/bridge7000');
  });

  test('that are gone are undone already', () => {
    for (const kind of ['bridge.create', 'veth.create', 'veth.add', 'tap.create', 'netns.join', 'netns.create'])
      for (const effect of undo(find(vm, kind)))
        expect(effect, kind).toMatchObject({
          do: 'run',
          tolerate: [{ status: 1 }, ...(['tap.create', 'netns.join'].includes(kind) ? [{ status: 255 }] : [])],
        });
  });

  const link = (name: string, more: Partial<Link> = {}): [string, Link] => [name, buildLink(name, more)];

  test.each<[string, Partial<Link> | undefined, string]>([
    ['nothing', undefined, 'no'],
    ['one with our mark', { kind: 'veth', alias: 'brig:vm/web01', up: true }, 'yes'],
    ['one that has no mark yet', { kind: 'veth' }, 'partly'],
    ["another VM's", { kind: 'veth', alias: 'brig:vm/web02' }, 'no'],
    ['a stranger that is up', { kind: 'veth', up: true }, 'no'],
    ['a stranger of another kind', { kind: 'bridge' }, 'no'],
  ])('veth: %s', (_, more, expected) => {
    const links = new Map(more ? [link('brigv7001', more)] : []);
    expect(holds(find(vm, 'veth.create'), buildSeen({ links }))).toBe(expected);
  });

  test.each<[Partial<Link>, string]>([
    [{}, 'no'],
    [{ master: 'other' }, 'no'],
    [{ master: 'bridge7000' }, 'partly'],
    [{ master: 'bridge7000', isolated: true }, 'partly'],
    [{ master: 'bridge7000', isolated: true, up: true }, 'yes'],
  ])('a port that is %j holds: %s', (more, expected) => {
    expect(holds(find(vm, 'veth.add'), buildSeen({ links: new Map([link('brigv7001', more)]) }))).toBe(expected);
  });

  test('inside is asked of the VM in focus', () => {
    const focus = (links: [string, Link][]): Seen =>
      buildSeen({
        focus: {
          vm: 'web01',
          inside: new Map(links),
          runFiles: new Set(),
          configFiles: new Set<string>(),
          limits: new Map(),
          hasTpm: false,
          mounts: new Set(),
          ready: true,
        } satisfies Focus,
      });
    const all = [
      link('brigb7001', { up: true }),
      link('brigp7001', { master: 'brigb7001', up: true }),
      link('tap7001', { master: 'brigb7001', up: true }),
    ];
    const down = link('brigp7001', { master: 'brigb7001' });
    expect(holds(find(vm, 'netns.join'), focus(all.with(1, down)))).toBe('partly');
    expect(holds(find(vm, 'netns.join'), focus(all))).toBe('yes');
    expect(holds(find(vm, 'netns.join'), focus(all.slice(0, 2)))).toBe('partly');
    expect(holds(find(vm, 'netns.join'), focus(all.slice(1)))).toBe('no');
    expect(holds(find(vm, 'tap.create'), focus(all))).toBe('yes');
    expect(holds(find(vm, 'tap.create'), focus(all.slice(0, 2)))).toBe('no');
  });
});

describe('the sandbox', () => {
  const binds = (vm: Vm): string => {
    const written = apply(find(vm, 'run-dir.create')).find((effect) => effect.do === 'write');
    return written?.do === 'write' ? written.text.replaceAll('\0', ' ') : '';
  };

  test('of a VM without disks and NICs has three files', () => {
    expect(binds(buildVm())).toBe(
      '--hostname web01 --dir /vm --ro-bind /run/brig/vms/web01/vm/firmware.rom /vm/firmware.rom --ro-bind /run/brig/vms/web01/vm/mon.in /vm/mon.in --dev-bind /dev/null /vm/mon.out --remount-ro / ',
    );
  });

  test('has each disk as one file, images and bases read-only', () => {
    const text = binds(
      buildVm({
        disks: [{ file: { size: '1G' } }, { file: { size: '1G', from: '/img/a.qcow2' } }, { image: '/img/b.iso' }],
        nics: [{}],
      }),
    );
    const state = '/var/db/brig/vms/web01/disk';
    expect(text).toContain(
      `--bind ${state}/disk0.raw /disk/disk0.raw --bind ${state}/disk1.qcow2 /disk/disk1.qcow2 --ro-bind /img/a.qcow2 /vm/base1.img --ro-bind /img/b.iso /vm/disk2.img --dev-bind /dev/net/tun /dev/net/tun`,
    );
    expect(text).toContain('--dir /dev --dir /dev/net --dir /disk --dir /vm ');
  });

  test('is entered by a chain of programs', () => {
    const step = find(
      buildVm({ limits: { openfiles: 100, cpuset: '0-1', processes: 10 } }),
      'qemu.start',
      buildNode({ accel: 'kvm', kvmGroup: 106 }),
    );
    const [line] = lines(apply(step).filter((effect) => effect.do === 'spawn'));
    expect(line?.split(' -name ')[0]).toBe(
      '/bin/sh /run/brig/supervise.sh qemu web01 /run/brig/vms/web01 /run/brig/exits run-1 10 60 ' +
        '-7 /var/db/brig/base/sandbox.bpf -8 /var/db/brig/base/sandbox.args -9 /run/brig/vms/web01/sandbox.args -- ' +
        '/usr/bin/prlimit --core=1 --nproc=81 --nofile=100 --memlock=0 --fsize=67108864 /usr/bin/taskset -c 0-1 ' +
        '/usr/bin/nsenter --net=/run/netns/brig-web01 -- /usr/bin/bwrap --seccomp 7 --args 8 --args 9 -- ' +
        '/usr/bin/setpriv --reuid 20001 --regid 20001 --groups 106 --no-new-privs --bounding-set -all --inh-caps -all --ambient-caps -all -- ' +
        '/usr/bin/qemu-system-x86_64',
    );
  });
});

describe('QEMU', () => {
  const words = (vm: Vm, accel: 'tcg' | 'kvm' = 'tcg'): string => qemuOfVm(vm, accel).join(' ');

  test('has a system call filter and no default devices', () => {
    expect(words(buildVm())).toContain(
      '-nodefaults -no-user-config -display none -vga none -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny',
    );
  });

  test('has the size that the document asks for', () => {
    expect(words(buildVm({ cpus: 2, memory: '300M' }))).toContain(`-m ${300 * 2 ** 20}B -smp 2`);
  });

  test('says what supervise.sh reads', () => {
    expect(words(buildVm())).toContain('-no-reboot -trace vm_state_notify -trace qemu_system_shutdown_request');
    expect(words(buildVm())).toContain('-d cpu_reset');
    expect(words(buildVm(), 'kvm')).not.toContain('cpu_reset');
  });

  test('takes its firmware from the sandbox', () => {
    expect(words(buildVm())).toContain('-bios /vm/firmware.rom');
    const uefi = words(buildVm({ firmware: { uefi: { code: '/fw/code.fd', vars: '/fw/vars.fd' } } }));
    expect(uefi).toContain(
      '-drive if=pflash,unit=0,format=raw,readonly=on,file=/vm/firmware.rom -drive if=pflash,unit=1,format=raw,file=/disk/vars.fd',
    );
    expect(uefi).not.toContain('-bios');
  });

  test('is told the format of every disk, and locks none that others read', () => {
    const blockdevs = qemuOfVm(
      buildVm({
        disks: [{ file: { size: '1G' } }, { file: { size: '1G', from: '/img/a.qcow2' } }, { image: '/img/b.iso' }],
      }),
      'tcg',
    )
      .filter((word) => word.startsWith('{'))
      .map((word) => JSON.parse(word) as unknown);
    expect(blockdevs).toEqual([
      { driver: 'raw', 'node-name': 'disk0', file: { driver: 'file', filename: '/disk/disk0.raw' }, discard: 'unmap' },
      {
        driver: 'qcow2',
        'node-name': 'disk1',
        file: { driver: 'file', filename: '/disk/disk1.qcow2' },
        discard: 'unmap',
        backing: {
          driver: 'qcow2',
          'read-only': true,
          file: { driver: 'file', filename: '/vm/base1.img', locking: 'off' },
        },
      },
      {
        driver: 'raw',
        'node-name': 'disk2',
        file: { driver: 'file', filename: '/vm/disk2.img', locking: 'off' },
        'read-only': true,
      },
    ]);
  });

  test('opens taps that are there', () => {
    expect(words(buildVm({ nics: [{}] }))).toContain(
      '-netdev tap,id=net0,ifname=tap7001,script=no,downscript=no -device virtio-net-pci,netdev=net0,mac=58:9c:fc:00:00:00,romfile=',
    );
  });

  test('keeps its identity on every node', () => {
    expect(uuidOf('web01')).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/);
    expect(uuidOf('web01')).not.toBe(uuidOf('web02'));
  });
});

describe('limits', () => {
  const memory = { version: 2, root: '/sys/fs/cgroup' } as const;

  test('of memory are there without asking', () => {
    const step = find(buildVm({ memory: '256M' }), 'cgroup.create', buildNode({ memory }));
    expect(lines(apply(step))).toEqual(['mkdir /sys/fs/cgroup/brig-web01', 'set /sys/fs/cgroup/brig-web01/memory.max']);
    expect(apply(step)[1]).toMatchObject({ text: `${(256 + 384) * 2 ** 20}\n` });
    expect(undo(step)).toMatchObject([
      {
        do: 'run',
        tolerate: [{ stderr: 'No such file or directory' }],
        retry: { on: { stderr: 'Device or resource busy' } },
      },
    ]);
  });

  test('of version 2 share a directory that QEMU joins', () => {
    const on = buildNode({ memory, cpu: memory });
    const vm = buildVm({ limits: { pcpu: 50, memory: '1G' } });
    expect(startSteps(on, vm, 'run-1', 0).filter(({ kind }) => kind === 'cgroup.create')).toHaveLength(1);
    expect(apply(find(vm, 'cgroup.create', on))[2]).toEqual({
      do: 'set',
      path: '/sys/fs/cgroup/brig-web01/cpu.max',
      text: '50000 100000\n',
    });
    expect(lines(apply(find(vm, 'qemu.start', on))).join()).toContain(' -g /sys/fs/cgroup/brig-web01 -7 ');
  });
});

describe('disks', () => {
  test('with a source are overlays, moved to their place when whole', () => {
    const step = find(buildVm({ disks: [{ file: { size: '1G', from: '/img/a.img' } }] }), 'disk.create');
    const path = '/var/db/brig/vms/web01/disk/disk0.qcow2';
    expect(lines(apply(step))).toEqual([
      `remove ${path}.new`,
      `/usr/bin/qemu-img create -q -f qcow2 -b /img/a.img -F raw ${path}.new ${2 ** 30}`,
      `/usr/bin/chmod 0600 ${path}.new`,
      `/usr/bin/chown 20001:20001 ${path}.new`,
      `/usr/bin/mv -n ${path}.new ${path}`,
    ]);
  });

  test("without one are sparse files of the VM's uid", () => {
    const step = find(buildVm({ disks: [{ file: { size: '1G' } }] }), 'disk.create');
    expect(apply(step)).toEqual([
      {
        do: 'allocate',
        path: '/var/db/brig/vms/web01/disk/disk0.raw',
        bytes: 2 ** 30,
        access: { mode: 0o600, uid: 20_001, gid: 20_001 },
      },
    ]);
  });
});
