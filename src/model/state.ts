import { find, listNames } from './files.ts';
import type { Dataset, Interface, Jail, Mount, Node, Process, Rule, Vm, World } from './world.ts';

/** The world for assertions: live, and not to be written to. */
export interface State {
  readonly jails: readonly Readonly<Jail>[];
  readonly interfaces: readonly Readonly<Interface>[];
  readonly mounts: readonly Mount[];
  readonly processes: readonly Readonly<Process>[];
  readonly vms: readonly Readonly<Vm>[];
  readonly rulesets: ReadonlyMap<number, readonly Rule[]>;
  readonly datasets: ReadonlyMap<string, Readonly<Dataset>>;
  readonly limits: readonly string[];
  /** An open tap is being destroyed: whoever needs the network's lock waits. */
  readonly wedged: boolean;
  /** A sysctl's value. */
  sysctl(name: string): string | undefined;
  /** What the kernel said. */
  readonly log: readonly string[];
  /** What is at a path, seen from the host or from the jail of that number. */
  find(path: string, jid?: number): Readonly<Node> | undefined;
  /**
   * A line for each thing on the host that is not of the base system, sorted, without what changes from run to run:
   * two summaries are equal when the hosts are. Files below `within` only, when given.
   */
  summary(within?: readonly string[]): string[];
}

const whereIs = (world: World, vnet: number): string =>
  vnet === 0 ? 'host' : (world.jails.find((jail) => jail.jid === vnet)?.name ?? 'nowhere');

const describeInterface = (world: World, each: Interface): string => {
  const members = each.members.map((member) => `${member.interface.name}${member.private ? ' private' : ''}`).sort();
  return [
    `interface ${each.name} in ${whereIs(world, each.vnet)}`,
    ...(each.description === undefined ? [] : [each.description]),
    ...(each.up ? ['up'] : []),
    ...(each.groups.length > 0 ? [`groups ${each.groups.join(' ')}`] : []),
    ...(members.length > 0 ? [`members ${members.join(', ')}`] : []),
  ].join(': ');
};

const filesBelow = (world: World, path: string): string[] => {
  const node = find(world, path);
  if (!node) return [];
  const line = `${node.kind} ${path} ${node.mode.toString(8)} ${node.uid}:${node.gid}`;
  if (node.kind !== 'directory') return [line];
  return [line, ...(listNames(world, path) ?? []).flatMap((name) => filesBelow(world, `${path}/${name}`))];
};

const summarise = (world: World, within: readonly string[]): string[] =>
  [
    ...world.jails.map((jail) => `jail ${jail.name} at ${jail.path}${jail.dying ? ' dying' : ''}`),
    ...world.interfaces.filter((each) => each.kind !== 'lo').map((each) => describeInterface(world, each)),
    ...world.mounts.slice(3).map(({ special, node, type, flags }) => `mount ${type} ${special} on ${node} ${flags}`),
    ...[...world.processes.values()].map(
      ({ jid, uid, command }) => `process ${command}: ${whereIs(world, jid)}, uid ${uid}`,
    ),
    ...[...world.vms.values()].map((vm) => `vm ${vm.name}${vm.ended ? ' ended' : ''}${vm.stale ? ' stale' : ''}`),
    ...[...world.rulesets].map(([number, rules]) => `ruleset ${number}: ${rules.length} rules`),
    ...[...world.datasets.values()].map((each) => `dataset ${each.name} ${each.type} ${each.volumeBytes}`),
    ...world.limits.map((rule) => `limit ${rule}`),
    ...(world.wedge ? ['wedged'] : []),
    ...within.flatMap((path) => filesBelow(world, path)),
  ].sort();

export const stateOf = (world: World): State => ({
  get jails() {
    return world.jails;
  },
  get interfaces() {
    return world.interfaces;
  },
  get mounts() {
    return world.mounts;
  },
  get processes() {
    return [...world.processes.values()];
  },
  get vms() {
    return [...world.vms.values()];
  },
  get rulesets() {
    return world.rulesets;
  },
  get datasets() {
    return world.datasets;
  },
  get limits() {
    return world.limits;
  },
  get wedged() {
    return world.wedge !== undefined;
  },
  get log() {
    return world.log;
  },
  sysctl: (name) => world.sysctls.get(name),
  find: (path, jid) => find(world, path, jid),
  summary: (within = []) => summarise(world, within),
});
