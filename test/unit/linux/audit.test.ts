import { describe, expect, test } from 'vitest';
import { boundProperties } from '../../../src/linux/audit/bounds.ts';
import { expect as expectOf, only, sameSet } from '../../../src/linux/audit/compare.ts';
import type { Facts } from '../../../src/linux/audit/facts.ts';
import { processProperties } from '../../../src/linux/audit/process.ts';
import { rootAudit } from '../../../src/linux/audit/root.ts';
import { parseRlimit, parseStatus, parseUnix } from '../../../src/linux/programs/proc.ts';
import { parseMountinfo } from '../../../src/linux/programs/mounts.ts';
import { parseNodes, renderCpuList } from '../../../src/linux/programs/system.ts';
import type { Vm } from '../../../src/platform/platform.ts';
import { buildNode, buildSeen, buildVm } from './build.ts';

const UID = 20_001;
const NO_CAPS = '0000000000000000';
const status = (changes: Record<string, string> = {}) =>
  new Map(
    Object.entries({
      ...{ Uid: `${UID} ${UID} ${UID} ${UID}`, Gid: `${UID} ${UID} ${UID} ${UID}`, Groups: '' },
      ...{ CapInh: NO_CAPS, CapPrm: NO_CAPS, CapEff: NO_CAPS, CapBnd: NO_CAPS, CapAmb: NO_CAPS },
      ...{
        NoNewPrivs: '1',
        Seccomp: '2',
        Seccomp_filters: '2',
        TracerPid: '0',
        Cpus_allowed_list: '0-3',
        VmLck: '0 kB',
      },
      ...changes,
    }),
  );

const process = (pid: number, ppid: number, uid: number, args: string) => ({
  pid,
  ppid,
  uid,
  startedMs: 1,
  rssBytes: 1,
  args,
});
const TREE = [
  process(5, 1, 0, '/bin/sh /run/brig/supervise.sh qemu web01 /run'),
  process(6, 5, 0, '/usr/bin/bwrap --args 8'),
  process(7, 6, 0, '/usr/bin/bwrap --args 8'),
  process(8, 7, UID, '/usr/bin/qemu-system-x86_64 -name brig-web01 -uuid x'),
];
const spaces = (mark: string) =>
  new Map(['mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup'].map((name) => [name, `${name}:[${mark}]`] as const));
const LIMITS = `Max file size             67108864             67108864             bytes
Max core file size        1                    1                    bytes
Max processes             81                   81                   processes
Max open files            136                  136                  files
Max locked memory         0                    0                    bytes
`;

/** A VM of which all is as planned. */
const buildFacts = (changes: Partial<Facts> = {}): Facts => ({
  pid: 8,
  seen: buildSeen({ processes: TREE }),
  tasks: [status(), status()],
  limits: LIMITS,
  environment: 'PWD=/\0',
  open: [],
  mounts: [],
  hostMounts: parseMountinfo('43 42 0:4 net:[own] /run/netns/brig-web01 rw shared:2 - nsfs nsfs rw\n'),
  spaces: { own: spaces('own'), host: spaces('host'), others: [spaces('other')] },
  links: [],
  proc: new Map(),
  passwd: 'root:x:0:0:root:/root:/bin/bash\n',
  settings: new Map(),
  stats: new Map([['/run/brig/supervise.sh', { kind: 'file', mode: 0o500, uid: 0, gid: 0, bytes: 1, modifiedMs: 0 }]]),
  texts: new Map(),
  real: new Map(),
  hostCpus: '0-3',
  ...changes,
});

const broken = (facts: Facts, vm: Vm = buildVm(), node = buildNode()): Record<string, string> => {
  const expected = expectOf(node, vm);
  const properties = [...processProperties(expected, facts), ...boundProperties(expected, facts)];
  return Object.fromEntries(
    properties.filter(({ verdict }) => verdict !== 'holds').map(({ id, measured }) => [id, measured]),
  );
};

describe('a process', () => {
  test('that is as planned has nothing broken', () => {
    expect(broken(buildFacts())).toEqual({});
  });

  const withTask = (changes: Record<string, string>): Facts => buildFacts({ tasks: [status(), status(changes)] });

  test.each<[string, Facts, Record<string, string>]>([
    ['one thread of root', withTask({ Uid: '0 0 0 0' }), { 'identity.uid': `${UID} ${UID} ${UID} ${UID} and 0 0 0 0` }],
    ['one thread that may gain rights', withTask({ NoNewPrivs: '0' }), { 'identity.no-new-privs': '1 and 0' }],
    ['one thread without a filter', withTask({ Seccomp: '0' }), { 'seccomp.filter': 'filters 2 and none' }],
    ['a debugger', withTask({ TracerPid: '77' }), { 'process.tracer': '0 and 77' }],
    [
      'one capability',
      withTask({ CapEff: '0000000000000001' }),
      { 'identity.caps': 'none and CapEff 0000000000000001' },
    ],
    [
      'a user of the same uid',
      buildFacts({ passwd: `alice:x:${UID}:1::/:/bin/sh\n` }),
      { 'identity.uid': `${UID} ${UID} ${UID} ${UID}, also of user alice` },
    ],
    [
      'another VM of the same uid',
      buildFacts({
        seen: buildSeen({ processes: [...TREE, process(9, 1, UID, '/usr/bin/qemu-system-x86_64 -name brig-b -x')] }),
      }),
      {
        'identity.uid': `${UID} ${UID} ${UID} ${UID}, also of VM b`,
        'process.uid': 'not planned: qemu-system-x86_64',
      },
    ],
    [
      'a child',
      buildFacts({ seen: buildSeen({ processes: [...TREE, process(9, 8, UID, '/bin/sh')] }) }),
      {
        'process.uid': 'not planned: sh',
        'process.tree': 'supervise.sh of 0 > bwrap of 0 > bwrap of 0 > QEMU > sh',
      },
    ],
    [
      'no supervisor',
      buildFacts({
        seen: buildSeen({
          processes: TREE.slice(1).map((each) => ({ ...each, ppid: each.pid === 6 ? 1 : each.ppid })),
        }),
      }),
      { 'process.supervisor': 'gone, 500 of 0:0', 'process.tree': 'bwrap of 0 > bwrap of 0 > QEMU > none' },
    ],
    [
      'a namespace of another VM',
      buildFacts({ spaces: { own: spaces('own'), host: spaces('host'), others: [new Map([['ipc', 'ipc:[own]']])] } }),
      { 'namespaces.own': 'mnt own, pid own, net own, ipc of another VM, uts own, cgroup own' },
    ],
  ])('with %s is told', (_, facts, expected) => {
    expect(broken(facts)).toEqual(expected);
  });

  test('that cannot be read is unmeasured, which is no better than broken', () => {
    const { pid, seen, spaces: all, ...rest } = buildFacts();
    const blind: Facts = {
      pid,
      seen,
      spaces: all,
      proc: rest.proc,
      passwd: '',
      settings: new Map(),
      stats: rest.stats,
      texts: new Map(),
      real: new Map(),
    };
    const expected = expectOf(buildNode(), buildVm());
    const verdicts = [...processProperties(expected, blind), ...rootAudit(expected, blind, undefined)]
      .filter(({ verdict }) => verdict === 'unmeasured')
      .map(({ id }) => id);
    expect(verdicts).toEqual([
      ...[
        'identity.uid',
        'identity.groups',
        'identity.caps',
        'identity.no-new-privs',
        'seccomp.filter',
        'process.tracer',
      ],
      ...[
        'process.environment',
        'process.cores',
        'root.files',
        'root.mounts',
        'root.sources',
        'root.read-only',
        'root.writable',
      ],
      ...['root.setuid', 'dev.nodes', 'files.descriptors'],
    ]);
  });
});

describe('limits', () => {
  const cg = { version: 2, root: '/cg' } as const;
  const node = buildNode({ memory: cg, cpu: cg, cpuset: cg, pids: cg, io: cg });
  const vm = buildVm({
    disks: [{ file: { size: '1M' } }],
    limits: { cpuset: '0,1', memory: '1G', pcpu: 50, readBps: '1M' },
  });
  const settings = new Map([
    ['/cg/brig-web01/memory.max', '1073741824\n'],
    ['/cg/brig-web01/cpu.max', '50000 100000\n'],
    ['/cg/brig-web01/cpuset.cpus', '0-1\n'],
    ['/cg/brig-web01/pids.max', '93\n'],
    [
      '/cg/brig-web01/io.max',
      '8:16 rbps=1 wbps=max riops=max wiops=max\n8:0 rbps=1048576 wbps=max riops=max wiops=max\n',
    ],
  ]);
  const facts = (changes: [string, string][] = [], more: Partial<Facts> = {}): Facts =>
    buildFacts({
      settings: new Map([...settings, ...changes]),
      proc: new Map([['/proc/8/cgroup', '0::/brig-web01\n']]),
      tasks: [status({ Cpus_allowed_list: '0-1' })],
      limits: LIMITS.replaceAll('136 ', '146 '),
      ...more,
    });

  test('of version 2 are read back as the kernel prints them', () => {
    expect(broken(facts(), vm, node)).toEqual({});
  });

  test.each([
    ['memory.max', 'max\n', { 'limits.memory': 'in brig-web01, memory.max max' }],
    ['cpu.max', 'max 100000\n', { 'limits.cpu': 'in brig-web01, cpu.max max 100000' }],
    ['cpuset.cpus', '\n', { 'limits.cpuset': 'in brig-web01, cpuset.cpus ' }],
    ['pids.max', 'max\n', { 'limits.pids': 'in brig-web01, pids.max max' }],
    ['io.max', '', { 'limits.io': 'in brig-web01, io.max not set' }],
  ])('in %s that are gone are told', (file, text, expected) => {
    expect(broken(facts([[`/cg/brig-web01/${file}`, text]]), vm, node)).toEqual(expected);
  });

  test('of a QEMU in another cgroup are told', () => {
    const found = broken(facts([], { proc: new Map([['/proc/8/cgroup', '0::/\n']]) }), vm, node);
    expect(found['limits.memory']).toBe('in the root, memory.max 1073741824');
    expect(Object.keys(found)).toEqual(['limits.memory', 'limits.cpu', 'limits.cpuset', 'limits.pids', 'limits.io']);
  });

  test('of paging are measured', () => {
    const wired = buildVm({ wired: true, memory: '64M' });
    const unlimited = LIMITS.replace(/memory .*/, 'memory         unlimited            unlimited            bytes');
    const locked = (kib: number) => buildFacts({ limits: unlimited, tasks: [status({ VmLck: `${kib} kB` })] });
    expect(broken(locked(70_000), wired)).toEqual({});
    expect(broken(locked(65_535), wired)).toEqual({ 'limits.wired': '65535 KiB' });
  });
});

describe('a set', () => {
  const set = (expected: string[], measured?: string[]) => {
    const { measured: got, verdict, expected: wanted } = sameSet('a.b', 'x', expected, measured, 'y');
    return [verdict, wanted, got];
  };

  test('names what differs, both ways and twice over', () => {
    expect(set(['a', 'b'], ['b', 'a'])).toEqual(['holds', 'a, b', 'a, b']);
    expect(set(['a', 'b'], ['b', 'c'])).toEqual(['broken', 'a, b', 'not planned: c; missing: a']);
    expect(set(['a'], ['a', 'a'])).toEqual(['broken', 'a', 'not planned: a']);
    expect(set([], [])).toEqual(['holds', 'none', 'none']);
    expect(set(['a'])).toEqual(['unmeasured', 'a', 'could not be measured']);
  });

  test('that is large is counted, and its differences are bounded', () => {
    const many = Array.from({ length: 30 }, (_, i) => `f${i}`);
    expect(set(many, many)).toEqual(['holds', '30, each by name', '30, each by name']);
    expect(set([], many)[2]).toMatch(/^not planned: (f\d+, ){12}18 more$/);
  });

  test('shows no control characters of a guest', () => {
    expect(set([], ['a\u001b[2J'])[2]).toBe('not planned: a\\x1b[2J');
  });

  test('of one kind', () => {
    expect([only(['1', '1']), only(['1', undefined]), only([]), only(undefined)]).toEqual([
      '1',
      '1 and nothing',
      undefined,
      undefined,
    ]);
  });
});

describe('what /proc says', () => {
  test('of limits is soft and hard', () => {
    expect(parseRlimit(LIMITS, 'open files')).toBe('136');
    expect(parseRlimit(LIMITS.replace('136 ', '50  '), 'open files')).toBe('50/136');
    expect(parseRlimit('', 'open files')).toBeUndefined();
  });

  test('of a process is its fields', () => {
    expect([...parseStatus('Name:\tqemu\nUid:\t1\t2\t3\t4\nGroups:\t \n')]).toEqual([
      ['Name', 'qemu'],
      ['Uid', '1 2 3 4'],
      ['Groups', ''],
    ]);
  });

  test('of unix sockets is inode and path', () => {
    const text = `Num       RefCount Protocol Flags    Type St Inode Path
0000000015523aaf: 00000002 00000000 00010000 0001 01 761549 /sock/port-a
000000008cc9d44f: 00000003 00000000 00000000 0001 03 761551
`;
    expect([...parseUnix(text)]).toEqual([
      ['761549', '/sock/port-a'],
      ['761551', ''],
    ]);
  });

  test('of device nodes is in hexadecimal', () => {
    expect([...parseNodes('a:c8 0:0 666 /proc/8/root/dev/net/tun\nstat: cannot stat\n')]).toEqual([
      ['/proc/8/root/dev/net/tun', '10:200 0:0 666'],
    ]);
  });

  test.each([
    ['0', '0'],
    ['1,0', '0-1'],
    ['0-2,2-4,8', '0-4,8'],
  ])('of the CPUs %s is %s', (text, expected) => {
    expect(renderCpuList(text)).toBe(expected);
  });
});
