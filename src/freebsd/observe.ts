import type { Host } from '../base/host.ts';
import { BrigError } from '../base/errors.ts';
import type { Command } from '../base/host.ts';
import type { Depth, Vm } from '../platform/platform.ts';
import { listRulesets, parseRulesets, showRules } from './programs/devfs.ts';
import { listInterfaces, parseInterfaces, type Interface } from './programs/ifconfig.ts';
import { listJails, parseJails, type Jail } from './programs/jls.ts';
import { listMounts, parseMounts, type Mount } from './programs/mount.ts';
import { listProcesses, parseProcesses, type Process } from './programs/ps.ts';
import { listRules, parseRules } from './programs/rctl.ts';
import { listDatasets, NO_DATASET, parseDatasets, type Dataset } from './programs/zfs.ts';
import type { Node } from './node.ts';
import { jailOf } from './node.ts';

/** What the host said, once, about everything brig could own. */
export interface Seen {
  readonly jails: readonly Jail[];
  readonly processes: readonly Process[];
  readonly interfaces: ReadonlyMap<string, Interface>;
  readonly mounts: readonly Mount[];
  readonly vmmNodes: ReadonlySet<string>;
  readonly rulesets: ReadonlySet<number>;
  readonly datasets: ReadonlyMap<string, Dataset>;
  /** Limits in force; undefined where racct is off. */
  readonly rctl: readonly string[] | undefined;
  /** Names in runDir/vms. */
  readonly runDirs: ReadonlySet<string>;
  /** Names in stateDir/vms. */
  readonly stateDirs: ReadonlySet<string>;
  /** More about one VM: what only that VM's jail and ruleset can say. */
  readonly focus?: Focus;
}

export interface Focus {
  readonly inside: ReadonlyMap<string, Interface>;
  readonly rules: string;
  readonly runFiles: ReadonlySet<string>;
  readonly configFiles: ReadonlySet<string>;
  readonly diskFiles: ReadonlySet<string>;
}

const ask = async (host: Host, command: Command, absent?: { status: number; stderr?: string }): Promise<string> => {
  const result = await host.run(command);
  if (result.timedOut)
    throw new BrigError('host.timeout', `observe ${command.program}: no answer within ${command.timeoutMs / 1000} s`, {
      retry: 'operator',
      hint: 'the host may be wedged: run brig doctor',
    });
  if (result.status === 0 || (absent && result.status === absent.status && result.stderr.includes(absent.stderr ?? '')))
    return result.stdout;
  throw new BrigError('host.failed', `observe ${command.program}: status ${result.status}: ${result.stderr.trim()}`);
};

const byName = <T extends { name: string }>(items: readonly T[]): ReadonlyMap<string, T> =>
  new Map(items.map((item) => [item.name, item]));

const names = async (host: Host, path: string): Promise<ReadonlySet<string>> => new Set(await host.list(path));

/**
 * One look at the whole host: six processes whatever the number of VMs, seven with a pool.
 * Errors: host.timeout when the host is wedged, host.failed when a program does not answer as FreeBSD does.
 */
export const observe = async (host: Host, node: Node, depth: Depth = 'all'): Promise<Seen> => {
  const [jails, processes, interfaces, mounts, vmmNodes, rulesets, datasets, rctl, runDirs, stateDirs] =
    await Promise.all([
      ask(host, listJails(node.features.meta)).then(parseJails),
      ask(host, listProcesses()).then(parseProcesses),
      ask(host, listInterfaces()).then(parseInterfaces),
      ask(host, listMounts()).then(parseMounts),
      names(host, '/dev/vmm'),
      ask(host, listRulesets()).then(parseRulesets),
      node.dataset === undefined || depth === 'run'
        ? []
        : ask(host, listDatasets(node.dataset), NO_DATASET).then(parseDatasets),
      node.features.racct ? ask(host, listRules()).then(parseRules) : undefined,
      names(host, node.layout.vmsDir),
      names(host, node.layout.statesDir),
    ]);
  return {
    jails,
    processes,
    interfaces: byName(interfaces),
    mounts,
    vmmNodes,
    rulesets: new Set(rulesets),
    datasets: byName(datasets),
    rctl,
    runDirs,
    stateDirs,
  };
};

/** A VM without volumes need not wait for zfs(8), the slowest of all. */
export const dataDepth = (vm: Vm): Depth => (vm.spec.disks.some((disk) => 'zvol' in disk) ? 'all' : 'run');

/** More about one VM: two processes. */
export const look = async (host: Host, node: Node, vm: Vm, seen: Seen): Promise<Focus> => {
  const jail = jailOf(vm.spec.name);
  const alive = seen.jails.some((each) => each.name === jail && !each.dying);
  const files = node.layout.vm(vm.spec.name);
  const [inside, rules, runFiles, configFiles, diskFiles] = await Promise.all([
    alive ? ask(host, listInterfaces(jail)).then(parseInterfaces) : [],
    seen.rulesets.has(vm.place.uid) ? ask(host, showRules(vm.place.uid)) : '',
    names(host, files.run),
    names(host, files.config),
    names(host, files.disk),
  ]);
  return { inside: byName(inside), rules, runFiles, configFiles, diskFiles };
};
