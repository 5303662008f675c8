import { property, type Property } from '../../platform/audit.ts';
import { diskPath, limitsOf, partsOf, SWTPM } from '../devices.ts';
import { jailOf, machineOf, runsAsRoot, whereOf } from '../node.ts';
import { ENVIRONMENT, isWired } from '../programs/bhyve.ts';
import type { Descriptor } from '../programs/procstat.ts';
import { rulesFor } from '../programs/rctl.ts';
import { supervisorOf } from '../lookup.ts';
import type { Measured } from './measure.ts';

const list = (items: readonly (string | number)[]): string => (items.length === 0 ? 'none' : items.join(' '));
const unique = <T>(items: readonly T[]): T[] => [...new Set(items)];

/** Who bhyve is. */
export const identity = (m: Measured): Property[] => {
  const { uid } = m.vm.place;
  const wanted = runsAsRoot(m.node, m.vm) ? 0 : uid;
  const pid = m.process?.pid ?? 0;
  const cred = m.host.credentials.get(pid);
  const how = `procstat cred ${pid}`;
  const jail = jailOf(m.vm.spec.name);
  const others = m.host.seen.processes.filter((each) => each.uid === uid && each.jail !== jail);
  const named = m.host.passwd
    .split('\n')
    .filter((line) => line.split(':')[2] === String(uid))
    .map((line) => line.split(':')[0] ?? '');
  return [
    property('identity.uid', 'effective, real and saved uid', String(uid), cred && list(unique(cred.uids)), how),
    property('identity.gid', 'effective, real and saved gid', String(wanted), cred && list(unique(cred.gids)), how),
    property('identity.groups', 'no group besides its own', String(wanted), cred && list(unique(cred.groups)), how),
    property(
      'identity.alone',
      'nobody else has this uid',
      'none',
      list([...others.map((each) => each.pid), ...named]),
      'ps -ax -o uid,jail; /etc/passwd',
    ),
  ];
};

/** What confines it. */
export const confinement = (m: Measured): Property[] => {
  const pid = m.process?.pid ?? 0;
  const jail = jailOf(m.vm.spec.name);
  const cred = m.host.credentials.get(pid);
  const inside = m.host.seen.processes.filter((each) => each.jail === jail);
  const titles = inside.map((each) => each.command.split(' ').slice(0, 2).join(' ')).sort();
  const wanted = [`bhyve: ${machineOf(m.node, m.vm)}`, ...(m.vm.spec.devices.tpm ? [`${SWTPM} socket`] : [])].sort();
  const supervisor = supervisorOf(m.vm.spec.name, m.host.seen);
  return [
    property(
      'confinement.capsicum',
      'in capability mode',
      'C',
      cred && (cred.capsicum ? 'C' : '-'),
      `procstat cred ${pid}`,
    ),
    property(
      'confinement.processes',
      'nothing else runs in the jail',
      wanted.join(', '),
      titles.join(', '),
      'ps -ax -o jail,command',
    ),
    property(
      'confinement.supervisor',
      'its parent is our supervisor, outside the jail',
      'root, jail 0',
      supervisor && m.process?.ppid === supervisor.pid
        ? `${supervisor.user}, jail ${supervisor.jid}`
        : 'no such parent',
      'ps -ax -o pid,ppid,jid,user,command',
    ),
  ];
};

/** bhyve never restricts this one (recorded); the node's rules and the kernel's credential checks do. */
const CONTROL = '/dev/vmmctl';
const RIGHTS = {
  machine: 'rd,wr,se,mm,io,prd,pwr,mmr,mmw,mrw,re,sd',
  input: 'rd,wr,se,fc,fs,ev,io,prd,pwr,re,sd',
  output: 'rd,wr,se,fc,fs,ev,io,prd,pwr,re,sd',
};
const NUMBERED = /^\d+$/;

const allowedRights = (m: Measured): ReadonlyMap<string, ReadonlySet<string>> => {
  const { root, conIn, conOut, err, run } = m.node.layout.vm(m.vm.spec.name);
  const machine = machineOf(m.node, m.vm);
  const parts = partsOf(m.vm, whereOf(m.node, m.vm)).flatMap((part) => part.opens);
  const pairs: [string, string][] = [
    [conIn, RIGHTS.input],
    [conOut, RIGHTS.output],
    [err, RIGHTS.output],
    [`${run}/err.in`, RIGHTS.output],
    [`${root}/dev/vmm/${machine}`, RIGHTS.machine],
    ...['bootrom', 'framebuffer'].map((each): [string, string] => [
      `${root}/dev/vmm.io/${machine}.${each}`,
      RIGHTS.machine,
    ]),
    ...parts.map(({ path, rights }): [string, string] => [`${root}${path}`, rights]),
  ];
  return new Map(pairs.map(([path, rights]) => [path, new Set(rights.split(','))]));
};

/** Of a pipe, kqueue or socket of its own making; the path is not known. */
const ANONYMOUS = new Set('rd,wr,se,fc,fs,fy,fp,ev,io,pwr,prd,re,sd,ke,kc,at,ss,gs,sh,sn,pn'.split(','));

/** Names a descriptor that should not be there, or what it may do too much. */
const strangeness = (m: Measured, allowed: ReadonlyMap<string, ReadonlySet<string>>, each: Descriptor): string[] => {
  const { root, disk } = m.node.layout.vm(m.vm.spec.name);
  const { fd, path, rights, type } = each;
  if (!NUMBERED.test(fd)) return path === root || path.startsWith(`${root}/`) ? [] : [`${fd} ${path}`];
  if (path === `${root}${CONTROL}`) return [];
  // A file disk shows by the path of the file system below nullfs, or by that of the mount.
  const seen = path.startsWith(`${disk}/`) ? `${root}/disk${path.slice(disk.length)}` : path;
  const may = path === '-' || type === 's' ? ANONYMOUS : allowed.get(seen);
  if (!may) return [`${fd} ${path}`];
  const more = rights.filter((right) => !may.has(right));
  if (rights.length === 0) return [`${fd} ${path} without limits`];
  return more.length === 0 ? [] : [`${fd} ${path} may ${more.join(',')}`];
};

/** bhyve falls back to read-only without a word when a disk cannot be written (FACTS 1.2). */
const readOnlyDisks = (m: Measured, open: readonly Descriptor[]): string[] => {
  const { root, disk: dir } = m.node.layout.vm(m.vm.spec.name);
  return m.vm.spec.disks.flatMap((disk, i) => {
    if ('image' in disk) return [];
    const path = diskPath(m.vm, i, m.node.dataset);
    // A file's path may be unknown to the kernel; then any file that may be written and synchronised is taken for it.
    const names = [`${root}${path}`, path.replace(/^\/disk/, dir)];
    const isIt = (each: Descriptor): boolean =>
      names.includes(each.path) || (each.path === '-' && each.type === 'v' && each.rights.includes('fy'));
    return open.some((each) => isIt(each) && each.rights.includes('wr')) ? [] : [`disk ${i}`];
  });
};

export const descriptors = (m: Measured): Property[] => {
  const pid = m.process?.pid ?? 0;
  const open = m.host.descriptors.get(pid);
  const allowed = allowedRights(m);
  const strange = open?.flatMap((each) => strangeness(m, allowed, each));
  return [
    property(
      'descriptors.open',
      'only its own files and devices are open, each with the rights that bhyve needs',
      'nothing else',
      strange && (strange.length === 0 ? 'nothing else' : strange.join('; ')),
      `procstat fds -C ${pid}`,
    ),
    property(
      'descriptors.disks',
      'its disks are open for writing',
      'all',
      open && list(readOnlyDisks(m, open)).replace(/^none$/, 'all'),
      `procstat fds -C ${pid}`,
    ),
  ];
};

export const environment = (m: Measured): Property[] => {
  const pid = m.process?.pid ?? 0;
  const words = m.host.environments.get(pid);
  return [
    property(
      'environment.variables',
      'nothing of the host',
      list(ENVIRONMENT),
      words && list(words),
      `procstat environment ${pid}`,
    ),
  ];
};

const UNITS: Readonly<Record<string, number>> = { B: 1, KB: 2 ** 10, MB: 2 ** 20, GB: 2 ** 30, TB: 2 ** 40 };

/** procstat(1) shortens large amounts: `65536 KB` as bytes; what has no number stays as it is. */
export const bytesOf = (text: string | undefined): string | undefined => {
  const [amount, unit = ''] = text?.split(' ') ?? [];
  const factor = UNITS[unit];
  return factor === undefined || amount === undefined ? text : String(Number(amount) * factor);
};

/** What it may use up. */
export const limits = (m: Measured): Property[] => {
  const pid = m.process?.pid ?? 0;
  const jail = jailOf(m.vm.spec.name);
  const where = whereOf(m.node, m.vm);
  const bounds = limitsOf(m.vm, where);
  const hard = m.host.limits.get(pid);
  const of = (name: string): string | undefined => hard?.get(name);
  const rules = m.host.seen.rctl?.filter((rule) => rule.startsWith(`jail:${jail}:`)).sort();
  const { cpuset } = m.vm.spec.limits;
  const how = `procstat rlimit ${pid}`;
  return [
    property('limits.processes', 'hard limit of processes', String(bounds.processes), of('maxprocesses'), how),
    property('limits.files', 'hard limit of open files', String(bounds.openfiles), of('openfiles'), how),
    property('limits.core', 'no core dump, which would hold guest memory', '0 B', of('coredumpsize'), how),
    ...(bounds.fileBytes === undefined
      ? []
      : [property('limits.file', 'bytes of one file', String(bounds.fileBytes), bytesOf(of('filesize')), how)]),
    property(
      'limits.rctl',
      'resource limits of the jail',
      list(rulesFor(jail, m.vm, where).map(short(jail)).sort()),
      rules ? list(rules.map(short(jail))) : 'rctl is off (kern.racct.enable=0)',
      `rctl jail:${jail}`,
    ),
    ...(cpuset === undefined
      ? []
      : [property('limits.cpus', 'CPUs it may run on', expandCpus(cpuset), m.cpus, `cpuset -g -j ${jail}`)]),
    ...(isWired(m.vm)
      ? [
          property(
            'limits.wired',
            'guest memory is wired',
            'memory.wired=true',
            m.config && (/^memory\.wired=true$/m.exec(m.config)?.[0] ?? 'not asked for'),
            'bhyve.conf',
          ),
        ]
      : []),
  ];
};

const short =
  (jail: string) =>
  (rule: string): string =>
    rule.slice(`jail:${jail}:`.length);

/** `0-2,5` as `0,1,2,5`. */
export const expandCpus = (text: string): string => {
  const ranges = text.split(',').map((part) => part.split('-').map(Number));
  const all = ranges.flatMap(([from = 0, to = from]) =>
    Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i),
  );
  return unique(all)
    .sort((a, b) => a - b)
    .join(',');
};
