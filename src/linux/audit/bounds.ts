import { property, type Property } from '../../platform/audit.ts';
import { CONTROLLERS, spaceOf, type ControllerName } from '../node.ts';
import { renderSetting, type Setting } from '../programs/cgroup.ts';
import { parseCgroups, parseRlimit } from '../programs/proc.ts';
import { renderCpuList } from '../programs/system.ts';
import { only, type Expected } from './compare.ts';
import type { Facts } from './facts.ts';

const controllerOf = (file: string): ControllerName | undefined => {
  const prefix = file.split('.')[0] === 'blkio' ? 'io' : file.split('.')[0];
  return CONTROLLERS.find((name) => name === prefix);
};

interface Placed {
  readonly dir: string;
  readonly setting: Setting;
}

/** Files of cgroups that an audit reads. */
export const settingFiles = ({ limits }: Expected): string[] =>
  limits.groups.flatMap(({ dir, set }) => set.map(([file]) => `${dir}/${file}`));

/** What a file says of a setting: its line about the same device, or all of it. */
const readBack = (text: string | undefined, setting: Setting): string => {
  if (text === undefined) return 'gone';
  const [file] = setting;
  const wanted = renderSetting(setting);
  const device = /^\d+:\d+ /.exec(wanted)?.[0];
  const line = device === undefined ? text.trim() : text.split('\n').find((each) => each.startsWith(device));
  return `${file} ${line ?? 'not set'}`;
};

const render = (setting: Setting): string => {
  const [file] = setting;
  const value = renderSetting(setting);
  return `${file} ${file === 'cpuset.cpus' ? renderCpuList(value) : value}`;
};

const groupProperty = (expected: Expected, facts: Facts, name: ControllerName, placed: readonly Placed[]): Property => {
  const { vm, node } = expected;
  const space = spaceOf(vm.spec.name);
  const hierarchy = node.features[name]?.version === 2 ? '' : name === 'io' ? 'blkio' : name;
  const member = parseCgroups(facts.proc.get(`/proc/${facts.pid}/cgroup`) ?? '').get(hierarchy);
  const values = placed.map(({ dir, setting }) => readBack(facts.settings.get(`${dir}/${setting[0]}`), setting));
  return property(
    `limits.${name}`,
    'the kernel keeps it within this, and it is a member of the group that says so',
    [`in ${space}`, ...placed.map(({ setting }) => render(setting))].join(', '),
    member === undefined
      ? undefined
      : [`in ${member.slice(member.lastIndexOf('/') + 1) || 'the root'}`, ...values].join(', '),
    placed.map(({ dir, setting }) => `${dir}/${setting[0]}`).join(' '),
  );
};

const rlimits = ({ limits }: Expected, facts: Facts): Property => {
  const { tasks, openFiles, lockedMemory } = limits.rlimits;
  const rows = [
    ['processes', String(tasks)],
    ['open files', String(openFiles)],
    ['locked memory', lockedMemory ? 'unlimited' : '0'],
  ] as const;
  const text = facts.limits;
  return property(
    'limits.process',
    'the kernel stops a flood of threads or descriptors',
    rows.map(([name, value]) => `${name} ${value}`).join(', '),
    text === undefined ? undefined : rows.map(([name]) => `${name} ${parseRlimit(text, name) ?? 'unknown'}`).join(', '),
    '/proc/PID/limits',
  );
};

const wired = ({ vm }: Expected, facts: Facts): Property[] => {
  if (!vm.spec.wired) return [];
  const kib = /^(\d+) kB$/.exec(facts.tasks?.[0]?.get('VmLck') ?? '')?.[1];
  const isLocked = Number(kib) * 1024 >= vm.spec.memory;
  return [
    property(
      'limits.wired',
      "the guest's memory is never paged out",
      'all of it',
      kib === undefined ? undefined : isLocked ? 'all of it' : `${kib} KiB`,
      '/proc/PID/status VmLck',
    ),
  ];
};

/** Every bound that is in force, against those that the plan has. */
export const boundProperties = (expected: Expected, facts: Facts): Property[] => {
  const placed = expected.limits.groups.flatMap(({ dir, set }) => set.map((setting) => ({ dir, setting })));
  const groups = CONTROLLERS.flatMap((name) => {
    const mine = placed.filter(({ setting: [file] }) => controllerOf(file) === name);
    return mine.length > 0 ? [groupProperty(expected, facts, name, mine)] : [];
  });
  const { cpuset } = expected.vm.spec.limits;
  return [
    ...groups,
    rlimits(expected, facts),
    property(
      'limits.cpus',
      'runs on these CPUs alone',
      cpuset === undefined ? (facts.hostCpus ?? 'all') : renderCpuList(cpuset),
      only(facts.tasks?.map((task) => task.get('Cpus_allowed_list'))),
      '/proc/PID/task/*/status',
    ),
    ...wired(expected, facts),
  ];
};
