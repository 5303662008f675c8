import { spawn, spawnSync } from 'node:child_process';
import { appendFileSync, chmodSync, chownSync, renameSync, writeFileSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import type { Step } from '../../src/base/step.ts';
import { realHost as host } from '../../src/io/host.ts';
import type { Audit } from '../../src/platform/audit.ts';
import type { Vm } from '../../src/platform/platform.ts';
import { BRIDGE, HAS_TPM, makeVm, pidOf, places, platform, start, text, UID, until } from './rig.ts';

const NAME = 'lt1';
const SPACE = `brig-${NAME}`;
const { run, config, disk, conIn } = places.vm(NAME);

const sound = async (vm: Vm): Promise<Audit> => {
  const [audit] = await platform.audit(host, [vm]);
  if (!audit) throw new Error('no audit');
  return audit;
};

const wrong = ({ properties }: Audit): Record<string, string> =>
  Object.fromEntries(properties.filter(({ verdict }) => verdict !== 'holds').map(({ id, measured }) => [id, measured]));

/** QEMU listens on its screen just after it runs. */
const settled = (vm: Vm): Promise<unknown> =>
  until('the sockets', async () =>
    (await sound(vm)).properties.every(({ id, verdict }) => id !== 'sockets.access' || verdict === 'holds')
      ? true
      : undefined,
  );

const SMALL = {};
const DEVICES = {
  nics: [{}],
  disks: [{ file: { size: '1M' } }],
  devices: { fbuf: {}, 'virtio-console': ['agent'], tpm: HAS_TPM },
};
const BOUNDED = {
  disks: [{ file: { size: '1M' } }],
  limits: { cpuset: '0', memory: '600M', pcpu: 50, readBps: '1M', writeIops: 100 },
};

describe('an audit', () => {
  test.each([
    ['the smallest VM', SMALL],
    ['a VM with NIC, disk, screen, ports and TPM', DEVICES],
    ['a VM with every limit', BOUNDED],
    ['a VM with shares', { devices: { 'virtio-9p': [{ name: 'etc', path: '/etc' }] } }],
  ])('of %s passes', async (_, document) => {
    const vm = makeVm(1, document);
    await start(vm);
    await settled(vm);
    const audit = await sound(vm);
    expect(wrong(audit)).toEqual({});
    expect(audit).toMatchObject({ vm: NAME, passes: true, advisories: [] });
    const ids = audit.properties.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(audit.properties.every(({ what, how, expected }) => what !== '' && how !== '' && expected !== '')).toBe(
      true,
    );
  });

  test('of two VMs keeps them apart, and says of one that is gone that it cannot be measured', async () => {
    const [one, two, gone] = [makeVm(1, { nics: [{}] }), makeVm(2, { nics: [{}] }), makeVm(3)];
    await start(one);
    await start(two);
    const audits = await platform.audit(host, [two, gone, one]);
    expect(audits.map(({ vm, passes }) => [vm, passes])).toEqual([
      ['lt2', true],
      ['lt3', false],
      ['lt1', true],
    ]);
    expect(audits[1]?.properties.map(({ id, verdict }) => [id, verdict])).toEqual([['process.uid', 'unmeasured']]);
  });

  test('starts three programs, and one for each VM', async () => {
    const [one, two] = [makeVm(1), makeVm(2)];
    await start(one);
    await start(two);
    const ran: string[] = [];
    const counted = {
      ...host,
      run: (...args: Parameters<typeof host.run>) => (ran.push(args[0].program), host.run(...args)),
    };
    await platform.audit(counted, [one]);
    const forOne = ran.length;
    await platform.audit(counted, [one, two]);
    expect([forOne, ran.length - forOne]).toEqual([4, 5]);
  });
});

const strangers: ReturnType<typeof spawn>[] = [];
const leave = (program: string, ...args: string[]): void =>
  void strangers.push(spawn(program, args, { stdio: 'ignore' }));

afterEach(() => {
  for (const each of strangers.splice(0)) each.kill('SIGKILL');
  text('/usr/sbin/ip', 'netns', 'delete', 'brig-ltx');
  chmodSync(places.supervisor, 0o500);
});

const ip = (...args: string[]): void => {
  expect(spawnSync('/usr/sbin/ip', args).status, args.join(' ')).toBe(0);
};

/** mount(2) in the VM's mount namespace, where there is no mount(8). Numbers of x86_64: setns 308, mount 165. */
const mountInside = (vm: Vm, type: string, path: string, flags: number): void => {
  const code = `open(my $ns, "<", "/proc/$ARGV[0]/ns/mnt") or die $!;
    syscall(308, fileno($ns), 0) == 0 or die $!;
    syscall(165, my $a = "brig", my $b = $ARGV[1], my $c = $ARGV[2], $ARGV[3] + 0, my $d = "") == 0 or die $!;`;
  const { status, stderr } = spawnSync('/usr/bin/perl', ['-e', code, String(pidOf(vm)), path, type, String(flags)], {
    encoding: 'utf8',
  });
  expect([status, stderr]).toEqual([0, '']);
};
const [NOSUID, NODEV, REMOUNT, BIND] = [2, 4, 32, 4096];

/** As its uid: in a container root may not. */
const prlimit = (vm: Vm, limit: string): void => {
  const uid = String(vm.place.uid);
  const become = ['--reuid', uid, '--regid', uid, '--clear-groups', '/usr/bin/prlimit', '--pid', String(pidOf(vm))];
  expect(spawnSync('/usr/bin/setpriv', [...become, limit]).status).toBe(0);
};

const group = (controller: string, file: string, value: string): void =>
  writeFileSync(`/sys/fs/cgroup/${controller}/${SPACE}/${file}`, value);

interface Damage {
  readonly document?: Record<string, unknown>;
  readonly by: (vm: Vm) => unknown;
  readonly breaks: Record<string, unknown>;
}

const has = (text: string): unknown => expect.stringContaining(text);

const BY_HAND: Record<string, Damage> = {
  'a console FIFO that all may open': {
    by: () => chmodSync(conIn, 0o666),
    breaks: { 'run-dir.access': has(`${conIn} fifo 666 0:0`) },
  },
  'a monitor FIFO that all may open': {
    by: () => chmodSync(`${config}/mon.in`, 0o622),
    breaks: { 'run-dir.access': has('mon.in fifo 622') },
  },
  'firmware that QEMU may change': {
    by: () => chownSync(`${config}/firmware.rom`, UID + 1, UID + 1),
    breaks: { 'run-dir.access': has(`firmware.rom file 444 ${UID + 1}:${UID + 1}`) },
  },
  'an open run directory': {
    by: () => chmodSync(run, 0o755),
    breaks: { 'run-dir.access': has(`${run} directory 755 0:0`) },
  },
  'a disk that all may read': {
    document: BOUNDED,
    by: () => chmodSync(`${disk}/disk0.raw`, 0o644),
    breaks: { 'disks.access': has('disk0.raw file 644') },
  },
  'an open socket': {
    document: DEVICES,
    by: () => chmodSync(`${run}/sock/vnc`, 0o777),
    breaks: { 'sockets.access': has('sock/vnc socket 777') },
  },
  'a sandbox that would be another after a reset': {
    by: () => appendFileSync(`${run}/sandbox.args`, '--ro-bind\0/\0/host\0'),
    breaks: { 'run-dir.sandbox': `changed: ${run}/sandbox.args` },
  },
  'a supervisor script that others may change': {
    by: () => chmodSync(places.supervisor, 0o777),
    breaks: { 'process.supervisor': 'alive, 777 of 0:0' },
  },
  'a process of the same uid': {
    by: () => leave('/usr/bin/setpriv', '--reuid', String(UID + 1), '--clear-groups', '/usr/bin/sleep', '60'),
    breaks: { 'process.uid': 'not planned: sleep' },
  },
  'another interface in its namespace': {
    by: () => ip('-n', SPACE, 'link', 'add', 'name', 'ltx', 'type', 'bridge'),
    breaks: { 'network.interfaces': 'not planned: ltx', 'network.links': 'not planned: ltx down bridge' },
  },
  'a loopback that is up': {
    by: () => ip('-n', SPACE, 'link', 'set', 'dev', 'lo', 'up'),
    breaks: { 'network.links': has('not planned: lo up') },
  },
  'a tap on no bridge': {
    document: DEVICES,
    by: () => ip('-n', SPACE, 'link', 'set', 'dev', 'tap29110', 'nomaster'),
    breaks: { 'network.links': has(`missing: tap29110 up tun of ${UID + 1} on brigb29110`) },
  },
  'a port that reaches its neighbours': {
    document: DEVICES,
    by: () => ip('link', 'set', 'dev', 'brigv29110', 'type', 'bridge_slave', 'isolated', 'off'),
    breaks: { 'network.isolated': has(`missing: brigv29110 up veth on ${BRIDGE} isolated brig:vm/lt1`) },
  },
  'a server in its namespace': {
    by: async (vm) => {
      leave(
        '/usr/bin/nsenter',
        `--net=/run/netns/${SPACE}`,
        process.execPath,
        '-e',
        'require("net").createServer().listen(8080)',
      );
      await until('the server', async () => ((await sound(vm)).passes ? undefined : true));
    },
    breaks: { 'network.sockets': has('1 tcp') },
  },
  'a limit of descriptors that is another': {
    by: (vm) => prlimit(vm, '--nofile=100:100'),
    breaks: { 'limits.process': has('open files 100') },
  },
  'a soft limit that is another': {
    by: (vm) => prlimit(vm, '--nproc=50:81'),
    breaks: { 'limits.process': has('processes 50/81') },
  },
  'another limit of cores': {
    by: (vm) => prlimit(vm, '--core=0:0'),
    breaks: { 'process.cores': '0' },
  },
  'no limit of memory': {
    by: () => group('memory', 'memory.limit_in_bytes', '-1'),
    breaks: { 'limits.memory': has('in brig-lt1, memory.limit_in_bytes 9223372036854771712') },
  },
  'no limit of tasks': {
    by: () => group('pids', 'pids.max', 'max'),
    breaks: { 'limits.pids': 'in brig-lt1, pids.max max' },
  },
  'a QEMU outside its cgroup': {
    by: (vm) => writeFileSync('/sys/fs/cgroup/pids/cgroup.procs', String(pidOf(vm))),
    breaks: { 'limits.pids': has('in the root, ') },
  },
  'no limit of CPU time': {
    document: BOUNDED,
    by: () => group('cpu', 'cpu.cfs_quota_us', '-1'),
    breaks: { 'limits.cpu': 'in brig-lt1, cpu.cfs_quota_us -1' },
  },
  'no limit of bytes': {
    document: BOUNDED,
    by: async () => {
      const line = await host.readFile(`/sys/fs/cgroup/blkio/${SPACE}/blkio.throttle.read_bps_device`);
      group('blkio', 'blkio.throttle.read_bps_device', `${line?.split(' ')[0] ?? ''} 0`);
    },
    breaks: { 'limits.io': has('read_bps_device not set') },
  },
  'more CPUs than it was given': {
    document: BOUNDED,
    by: () => group('cpuset', 'cpuset.cpus', '0-1'),
    breaks: { 'limits.cpuset': has('cpuset.cpus 0-1'), 'limits.cpus': '0-1' },
  },
  'fewer CPUs for one thread': {
    by: (vm) => text('/usr/bin/taskset', '-p', '-c', '0', String(pidOf(vm))),
    breaks: { 'limits.cpus': has(' and ') },
  },
  'a root that can be written to': {
    by: (vm) => mountInside(vm, '', '/', REMOUNT | BIND | NOSUID | NODEV),
    breaks: { 'root.read-only': 'writable' },
  },
  'firmware that can be written to': {
    by: (vm) => mountInside(vm, '', '/vm/firmware.rom', REMOUNT | BIND | NOSUID | NODEV),
    breaks: { 'root.writable': 'not planned: /vm/firmware.rom' },
  },
  'a mount that allows setuid': {
    by: (vm) => mountInside(vm, '', '/vm/firmware.rom', REMOUNT | BIND | NODEV | 1),
    breaks: { 'root.mounts': has('/vm/firmware.rom with setuid') },
  },
  'a mount over its files': {
    by: (vm) => mountInside(vm, 'tmpfs', '/vm', NOSUID | 1),
    breaks: {
      'root.mounts': 'not planned: /vm',
      'root.sources': has('not planned: /vm of '),
      'root.files': has('missing: /vm/firmware.rom'),
      'dev.nodes': has('missing: /vm/mon.out'),
    },
  },
  'a disk that is another by now': {
    document: BOUNDED,
    by: () => {
      renameSync(`${disk}/disk0.raw`, `${disk}/moved`);
      writeFileSync(`${disk}/disk0.raw`, '', { mode: 0o600 });
      chownSync(`${disk}/disk0.raw`, UID + 1, UID + 1);
    },
    breaks: { 'root.sources': has('/disk/moved; missing: /disk/disk0.raw of ') },
  },
  'a setuid file': {
    document: DEVICES,
    by: () => {
      writeFileSync(`${run}/sock/x`, '');
      chmodSync(`${run}/sock/x`, 0o4755);
    },
    breaks: { 'root.files': 'not planned: /sock/x', 'root.setuid': 'not planned: /sock/x' },
  },
  'another device node': {
    document: DEVICES,
    by: () => text('/usr/bin/mknod', '-m', '0600', `${run}/sock/mem`, 'c', '1', '1'),
    breaks: { 'root.files': 'not planned: /sock/mem', 'dev.nodes': 'not planned: /sock/mem 1:1 0:0 600' },
  },
};

describe('by hand, to a running VM:', () => {
  test.each(Object.entries(BY_HAND))('%s is found', async (_, { document, by, breaks }) => {
    const vm = makeVm(1, document ?? SMALL);
    await start(vm);
    await settled(vm);
    expect(wrong(await sound(vm))).toEqual({});
    await by(vm);
    // A process of the uid is there once it has become one.
    await until('the damage', async () => ((await sound(vm)).passes ? undefined : true));
    const audit = await sound(vm);
    expect(wrong(audit)).toEqual(breaks);
    expect(audit.passes).toBe(false);
  });
});

/** The command that becomes QEMU, spoiled. */
const spoil =
  (change: (words: string[]) => string[]) =>
  (step: Step): Step => {
    const args = step.args as { command?: string[] };
    return args.command ? { ...step, args: { ...args, command: change(args.command) } } : step;
  };

const replace = (from: readonly string[], to: readonly string[]) =>
  spoil((words) => {
    const at = words.findIndex((_, i) => from.every((word, k) => words[i + k] === word));
    expect(at, from.join(' ')).toBeGreaterThan(0);
    return words.toSpliced(at, from.length, ...to);
  });

const BEFORE: Record<
  string,
  { document?: Record<string, unknown>; edit: (step: Step) => Step; breaks: Record<string, unknown> }
> = {
  'a group of the host': {
    edit: replace(['--clear-groups'], ['--groups', '20']),
    breaks: { 'identity.groups': `${[1, 1, 1, 1].map((n) => UID + n).join(' ')}; 20` },
  },
  "another's group": {
    edit: replace(['--regid', String(UID + 1)], ['--regid', '20']),
    breaks: { 'identity.groups': '20 20 20 20; none', 'run-dir.access': undefined },
  },
  'capabilities that it could get': {
    edit: replace(['--bounding-set', '-all'], []),
    breaks: { 'identity.caps': has('CapBnd ') },
  },
  'no filter of system calls': {
    edit: replace(['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'], []),
    breaks: { 'seccomp.filter': '0' },
  },
  "the host's network": {
    edit: replace([`--net=/run/netns/${SPACE}`], ['--net=/proc/self/ns/net']),
    breaks: {
      'namespaces.own': has('net of the host'),
      'namespaces.network': has('net:['),
      'network.interfaces': has('not planned: '),
      'network.sockets': undefined,
    },
  },
  "another's network": {
    edit: replace([`--net=/run/netns/${SPACE}`], ['--net=/run/netns/brig-ltx']),
    breaks: { 'namespaces.network': has('net:[') },
  },
  'a variable of the host': {
    edit: replace(['--args', '9', '--'], ['--args', '9', '--setenv', 'TOKEN', 'x', '--']),
    breaks: { 'process.environment': has('TOKEN=x') },
  },
  'a descriptor of the host': {
    edit: spoil((words) => ['/bin/sh', '-c', 'exec 7</etc/passwd; exec "$@"', 'sh', ...words]),
    breaks: { 'files.descriptors': 'not planned: 7 /etc/passwd' },
  },
  'another file of the host': {
    edit: replace(
      ['--args', '9', '--'],
      ['--dir', '/host', '--ro-bind', '/etc/passwd', '/host/passwd', '--args', '9', '--'],
    ),
    breaks: {
      'root.files': 'not planned: /host, /host/passwd',
      'root.mounts': 'not planned: /host/passwd',
      'root.sources': has('not planned: /host/passwd of '),
    },
  },
  'a TPM with capabilities that it could get': {
    document: DEVICES,
    edit: replace(['--bounding-set', '-all'], ['--bounding-set', '+setuid']),
    breaks: { 'tpm.confined': has('caps CapBnd ') },
  },
};

describe('from the start:', () => {
  test.each(Object.entries(BEFORE).filter(([name]) => HAS_TPM || !name.includes('TPM')))(
    '%s is found',
    async (_, { document, edit, breaks }) => {
      ip('netns', 'add', 'brig-ltx');
      const vm = makeVm(1, document ?? SMALL);
      await start(vm, edit);
      await settled(vm);
      const found = wrong(await sound(vm));
      for (const [id, measured] of Object.entries(breaks))
        if (measured !== undefined) expect(found).toHaveProperty([id], measured);
      expect(Object.keys(found).filter((id) => !(id in breaks))).toEqual([]);
    },
  );
});
