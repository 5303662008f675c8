import { property, type Property } from '../../platform/audit.ts';
import { CORE_BYTES } from '../programs/bwrap.ts';
import { vmOfSpace } from '../node.ts';
import { parseRlimit, type Status } from '../programs/proc.ts';
import { parsePasswd } from '../programs/system.ts';
import { supervisorOf } from '../steps/process.ts';
import { only, sameSet, type Expected } from './compare.ts';
import { SPACES, type Facts } from './facts.ts';

const STATUS = '/proc/PID/task/*/status';
const CAPS = ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'];
const NO_CAPS = '0000000000000000';

const field = (facts: Facts, name: string): string | undefined => only(facts.tasks?.map((task) => task.get(name)));

const capsOf = (status: Status): string =>
  CAPS.flatMap((set) => (status.get(set) === NO_CAPS ? [] : [`${set} ${status.get(set) ?? 'unknown'}`])).join(' ') ||
  'none';

/** Whom else the uid belongs to: other VMs, or a user of the host. */
const sharedWith = ({ vm }: Expected, { seen, passwd }: Facts): string[] => {
  const names = seen.processes
    .filter(({ uid }) => uid === vm.place.uid)
    .flatMap(({ args }) => vmOfSpace(/ -name (\S+)/.exec(args)?.[1] ?? '') ?? []);
  const user = parsePasswd(passwd).get(vm.place.uid);
  return [
    ...names.filter((each) => each !== vm.spec.name).map((each) => `also of VM ${each}`),
    ...(user === undefined ? [] : [`also of user ${user}`]),
  ];
};

const identity = (expected: Expected, facts: Facts): Property[] => {
  const { uid } = expected.vm.place;
  const { kvmGroup } = expected.node.features;
  const four = (id: number): string => Array.from({ length: 4 }, () => id).join(' ');
  const uids = field(facts, 'Uid');
  const gid = field(facts, 'Gid');
  return [
    property(
      'identity.uid',
      'runs as a uid that nothing else has',
      four(uid),
      uids === undefined ? undefined : [uids, ...sharedWith(expected, facts)].join(', '),
      `${STATUS} Uid, ps, /etc/passwd`,
    ),
    property(
      'identity.groups',
      'is in no group of the host but that of KVM, where it is used',
      `${four(uid)}; ${kvmGroup ?? 'none'}`,
      gid === undefined ? undefined : `${gid}; ${field(facts, 'Groups') || 'none'}`,
      `${STATUS} Gid, Groups`,
    ),
    property(
      'identity.caps',
      'has no capability and can get none',
      'none',
      only(facts.tasks?.map(capsOf)),
      `${STATUS} Cap*`,
    ),
    property(
      'identity.no-new-privs',
      'a setuid file gives it nothing',
      '1',
      field(facts, 'NoNewPrivs'),
      `${STATUS} NoNewPrivs`,
    ),
    property(
      'seccomp.filter',
      'every thread has a system call filter',
      '2',
      field(facts, 'Seccomp'),
      `${STATUS} Seccomp`,
    ),
    property('process.tracer', 'nobody traces it', '0', field(facts, 'TracerPid'), `${STATUS} TracerPid`),
  ];
};

const namespaces = ({ vm, files }: Expected, { spaces, hostMounts }: Facts): Property[] => {
  const { own, host, others } = spaces;
  const state = SPACES.map((space) => {
    const inode = own.get(space);
    if (inode === undefined) return `${space} unknown`;
    if (inode === host.get(space)) return `${space} of the host`;
    return others.some((other) => other.get(space) === inode) ? `${space} of another VM` : `${space} own`;
  });
  const named = hostMounts?.find(({ at, type }) => type === 'nsfs' && at === `/run/netns/brig-${vm.spec.name}`);
  return [
    property(
      'namespaces.own',
      'shares no namespace with the host or another VM',
      SPACES.map((space) => `${space} own`).join(', '),
      state.join(', '),
      '/proc/PID/ns/*, /proc/self/ns/*',
    ),
    property(
      'namespaces.network',
      'its network namespace is the one that brig made',
      named?.root ?? `brig-${files.run.split('/').at(-1) ?? ''}`,
      own.get('net'),
      '/proc/self/mountinfo, /proc/PID/ns/net',
    ),
  ];
};

const programOf = (args: string): string => /^(\S*\/)?(\S+)/.exec(args)?.[2] ?? args;

/** From QEMU upwards; each must be root's, and the first is the supervisor that init adopted. */
const ancestors = ({ seen, pid }: Facts): string[] => {
  const chain: string[] = [];
  let next = seen.processes.find((each) => each.pid === pid);
  while (next && next.ppid > 1 && chain.length < 4) {
    const parent: typeof next | undefined = seen.processes.find((each) => each.pid === next?.ppid);
    if (!parent) break;
    chain.unshift(
      parent.args.includes('supervise.sh qemu ')
        ? `supervise.sh of ${parent.uid}`
        : `${programOf(parent.args)} of ${parent.uid}`,
    );
    if (parent.args.includes('supervise.sh qemu ')) break;
    next = parent;
  }
  return chain;
};

const processes = (expected: Expected, facts: Facts): Property[] => {
  const { vm, node } = expected;
  const { seen, pid } = facts;
  const mine = seen.processes.filter(({ uid }) => uid === vm.place.uid);
  const children = seen.processes.filter(({ ppid }) => ppid === pid);
  const script = facts.stats.get(node.layout.supervisor);
  const supervisor = supervisorOf(node.layout.supervisor, vm.spec.name, seen);
  return [
    sameSet(
      'process.uid',
      'nothing runs as its uid but QEMU, and swtpm where there is a TPM',
      ['qemu-system-x86_64', ...(vm.spec.devices.tpm ? ['swtpm'] : [])],
      mine.map(({ args }) => programOf(args)),
      'ps',
    ),
    property(
      'process.tree',
      'QEMU is under its supervisor and two of bwrap, all of root, and has no child',
      'supervise.sh of 0 > bwrap of 0 > bwrap of 0 > QEMU > none',
      [...ancestors(facts), 'QEMU', children.map(({ args }) => programOf(args)).join(' ') || 'none'].join(' > '),
      'ps',
    ),
    property(
      'process.supervisor',
      'its supervisor is there, is root and nobody else can change its script',
      'alive, 500 of 0:0',
      `${supervisor ? 'alive' : 'gone'}, ${script ? `${script.mode.toString(8)} of ${script.uid}:${script.gid}` : 'no script'}`,
      `ps, ${node.layout.supervisor}`,
    ),
    property(
      'process.environment',
      'nothing of the host is in its environment',
      'PWD=/',
      facts.environment?.split('\0').filter(Boolean).join(' '),
      '/proc/PID/environ',
    ),
    property(
      'process.cores',
      'a crash leaves no core with guest memory, in a file or a pipe',
      String(CORE_BYTES),
      facts.limits === undefined ? undefined : parseRlimit(facts.limits, 'core file size'),
      '/proc/PID/limits',
    ),
  ];
};

/** swtpm(8) beside QEMU is held by the same walls. */
const tpm = ({ vm }: Expected, facts: Facts): Property[] =>
  vm.spec.devices.tpm
    ? [
        property(
          'tpm.confined',
          'swtpm has the uid, no group, no capability, no new privileges, a filter',
          `uid ${vm.place.uid}, groups none, caps none, no-new-privs 1, seccomp 2`,
          facts.tpm &&
            `uid ${facts.tpm.get('Uid')?.split(' ')[1] ?? '?'}, groups ${facts.tpm.get('Groups') || 'none'}, caps ${capsOf(facts.tpm)}, ` +
              `no-new-privs ${facts.tpm.get('NoNewPrivs') ?? '?'}, seccomp ${facts.tpm.get('Seccomp') ?? '?'}`,
          '/proc/PID/status of swtpm',
        ),
      ]
    : [];

export const processProperties = (expected: Expected, facts: Facts): Property[] => [
  ...identity(expected, facts),
  ...namespaces(expected, facts),
  ...processes(expected, facts),
  ...tpm(expected, facts),
];
