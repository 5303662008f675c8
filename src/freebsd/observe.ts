import type { Host } from '../base/host.ts';
import { BrigError } from '../base/errors.ts';
import type { Command, Tolerance } from '../base/host.ts';
import { stampOf } from '../net/pf.ts';
import type { Depth, Vm } from '../platform/platform.ts';
import { listRulesets, parseRulesets, showRules } from './programs/devfs.ts';
import { listInterfaces, parseInterfaces, type Interface } from './programs/ifconfig.ts';
import { listJails, parseJails, type Jail } from './programs/jls.ts';
import { listMounts, parseMounts, type Mount } from './programs/mount.ts';
import { listProcesses, parseProcesses, type Process } from './programs/ps.ts';
import { listRules, parseRules } from './programs/rctl.ts';
import {
  ANCHORS,
  isFiltering,
  listAnchors,
  missingAnchors,
  parseAnchors,
  showAnchor,
  showMain,
  tryReceivedOn,
} from './programs/pfctl.ts';
import { listRoutes, parseRoutes } from './programs/route.ts';
import { FILTERING, FORWARDING, parseSysctls, readSysctls } from './programs/sysctl.ts';
import { vmDataset } from './devices.ts';
import { listDatasets, listSnapshots, NO_DATASET, parseDatasets, type Dataset } from './programs/zfs.ts';
import { processesIn, supervisorOf } from './lookup.ts';
import type { Node } from './node.ts';
import { GROUP, jailOf, networkAnchorName, vmAnchorName } from './node.ts';

/** What the host said, once, about everything brig could own. */
export interface Seen {
  readonly jails: readonly Jail[];
  readonly processes: readonly Process[];
  readonly interfaces: ReadonlyMap<string, Interface>;
  readonly mounts: readonly Mount[];
  readonly vmmNodes: ReadonlySet<string>;
  readonly rulesets: ReadonlySet<number>;
  readonly datasets: ReadonlyMap<string, Dataset>;
  /** Of those that brig sets for its networks. */
  readonly sysctls: ReadonlyMap<string, string>;
  /** pf, once this brigd has planned rules. */
  readonly pf: Pf | undefined;
  /** Limits in force; undefined where racct is off. */
  readonly rctl: readonly string[] | undefined;
  /** Names in runDir/vms. */
  readonly runDirs: ReadonlySet<string>;
  /** Names in stateDir/vms. */
  readonly stateDirs: ReadonlySet<string>;
  /** More about one VM: what only that VM's jail and ruleset can say. */
  readonly focus?: Focus;
}

export interface Pf {
  readonly enabled: boolean;
  /** Lines that the main ruleset lacks. */
  readonly missing: readonly string[];
  /** Shape: `brig/web01` */
  readonly anchors: ReadonlySet<string>;
}

export interface Focus {
  readonly inside: ReadonlyMap<string, Interface>;
  readonly rules: string;
  readonly runFiles: ReadonlySet<string>;
  readonly configFiles: ReadonlySet<string>;
  readonly diskFiles: ReadonlySet<string>;
  /** Only of a VM with links of its own: `10.9.0.5 epair7000a`. */
  readonly routes?: ReadonlySet<string>;
  /** Stamps of its anchors and of those of its networks; of one that somebody changed: `changed`. */
  readonly anchors?: ReadonlyMap<string, string>;
  /** Only when they were asked for: `DATASET@NAME` of its volumes, and names of those that have a directory. */
  readonly snapshots?: ReadonlySet<string>;
  readonly snapshotDirs?: ReadonlySet<string>;
}

const ask = async (host: Host, command: Command, ...absent: readonly Tolerance[]): Promise<string> => {
  const result = await host.run(command);
  if (result.timedOut)
    throw new BrigError('host.timeout', `observe ${command.program}: no answer within ${command.timeoutMs / 1000} s`, {
      retry: 'operator',
      hint: 'the host may be wedged: run brig doctor',
    });
  const isAbsent = ({ status, stderr = '' }: Tolerance): boolean =>
    result.status === status && result.stderr.includes(stderr);
  if (result.status === 0 || absent.some(isAbsent)) return result.stdout;
  throw new BrigError('host.failed', `observe ${command.program}: status ${result.status}: ${result.stderr.trim()}`);
};

/** It went away since the look at the whole host, or is about to. Source: sbin/ifconfig/ifconfig.c, args_parse */
const NO_JAIL: readonly Tolerance[] = [
  { status: 1, stderr: 'jail not found' },
  { status: 1, stderr: 'cannot attach to jail' },
];

const byName = <T extends { name: string }>(items: readonly T[]): ReadonlyMap<string, T> =>
  new Map(items.map((item) => [item.name, item]));

/** A healthy host says the same again and again: it is parsed once, and what it says is kept once. */
const unchanged = <T>(parse: (text: string) => T): ((text: string) => T) => {
  let last: { readonly text: string; readonly parsed: T } | undefined;
  return (text) => (last?.text === text ? last : (last = { text, parsed: parse(text) })).parsed;
};

/** Of a directory: a file name has no slash. */
const namesOf = (text: string): ReadonlySet<string> => new Set(text === '' ? [] : text.split('/'));
const list = async (host: Host, path: string): Promise<string> => ((await host.list(path)) ?? []).join('/');
const names = async (host: Host, path: string): Promise<ReadonlySet<string>> => namesOf(await list(host, path));

const jailsOf = unchanged(parseJails);
const interfacesOf = unchanged((text) => byName(parseInterfaces(text)));
const mountsOf = unchanged(parseMounts);
const rulesetsOf = unchanged((text): ReadonlySet<number> => new Set(parseRulesets(text)));
const datasetsOf = unchanged((text) => byName(parseDatasets(text)));
const rulesOf = unchanged(parseRules);
const sysctlsOf = unchanged(parseSysctls);
const vmmNodesOf = unchanged(namesOf);
const runDirsOf = unchanged(namesOf);
const stateDirsOf = unchanged(namesOf);
const pfOf = unchanged((text): Pf => {
  const [info = '', main = '', anchors = ''] = text.split('\0');
  return { enabled: isFiltering(info), missing: missingAnchors(main), anchors: parseAnchors(anchors) };
});

/** pfctl(8) answers nothing about a kernel without pf: then the question stays open. */
export const probePf = async (host: Host, pf: Node['pf']): Promise<void> => {
  if (pf.receivedOn === undefined && (await host.stat('/dev/pf')))
    pf.receivedOn = (await host.run(tryReceivedOn(GROUP))).status === 0;
};

const NO_PF: Pf = { enabled: false, missing: ANCHORS, anchors: new Set() };

/** One pass over the anchors, whatever the number of VMs. No answer is not a no: what is there would be left for ever. */
const readPf = async (host: Host, node: Node): Promise<Pf> => {
  if (!(await host.stat('/dev/pf'))) return NO_PF;
  await probePf(host, node.pf);
  const [info, nat, rules, anchors] = await Promise.all([
    ask(host, showMain('info')),
    ask(host, showMain('nat')),
    ask(host, showMain('rules')),
    ask(host, listAnchors()),
  ]);
  return pfOf([info, `${nat}${rules}`, anchors].join('\0'));
};

const NO_SYSCTLS: ReadonlyMap<string, string> = new Map();
const NO_DATASETS: ReadonlyMap<string, Dataset> = new Map();

/**
 * One look at the whole host: six processes whatever the number of VMs, seven with a pool; one more for each thing that
 * only some kinds of network need.
 * Errors: host.timeout when the host is wedged, host.failed when a program does not answer as FreeBSD does.
 */
export const observe = async (host: Host, node: Node, depth: Depth = 'all'): Promise<Seen> => {
  const [jails, processes, interfaces, mounts, vmmNodes, rulesets, datasets, sysctls, pf, rctl, runDirs, stateDirs] =
    await Promise.all([
      ask(host, listJails(node.features.meta)).then(jailsOf),
      ask(host, listProcesses()).then(parseProcesses),
      ask(host, listInterfaces()).then(interfacesOf),
      ask(host, listMounts()).then(mountsOf),
      list(host, '/dev/vmm').then(vmmNodesOf),
      ask(host, listRulesets()).then(rulesetsOf),
      node.dataset === undefined || depth === 'run'
        ? NO_DATASETS
        : ask(host, listDatasets(node.dataset), NO_DATASET).then(datasetsOf),
      node.asks.size > 0 ? ask(host, readSysctls([...FORWARDING, ...FILTERING])).then(sysctlsOf) : NO_SYSCTLS,
      node.asks.has('firewall.create') ? readPf(host, node) : undefined,
      node.features.racct ? ask(host, listRules()).then(rulesOf) : undefined,
      list(host, node.layout.vmsDir).then(runDirsOf),
      list(host, node.layout.statesDir).then(stateDirsOf),
    ]);
  return { jails, processes, interfaces, mounts, vmmNodes, rulesets, datasets, sysctls, pf, rctl, runDirs, stateDirs };
};

/** A VM without volumes need not wait for zfs(8), the slowest of all. */
export const dataDepth = (vm: Vm): Depth => (vm.spec.disks.some((disk) => 'zvol' in disk) ? 'all' : 'run');

/**
 * All that the steps of a VM look at without a closer look at it: when nothing of that is another, neither are their
 * answers. Parts of an observation that did not change are the same objects.
 */
export const basisOf = ({ base }: Node, seen: Seen, vm: string): readonly unknown[] => {
  const { jails, interfaces, mounts, vmmNodes, rulesets, datasets, sysctls, pf, rctl, runDirs, stateDirs } = seen;
  const supervisor = supervisorOf(vm, seen);
  const processes = [...processesIn(jailOf(vm), seen), ...(supervisor ? [supervisor] : [])];
  return [
    ...[
      base,
      seen.focus,
      jails,
      interfaces,
      mounts,
      vmmNodes,
      rulesets,
      datasets,
      sysctls,
      pf,
      rctl,
      runDirs,
      stateDirs,
    ],
    // Whether it is confined is in its title and its state; how much memory it uses says nothing.
    ...processes.flatMap(({ pid, uid, stat, command }) => [pid, uid, stat.includes('C'), command]),
  ];
};

const snapshotsOf = async (host: Host, node: Node, { spec }: Vm): Promise<ReadonlySet<string>> => {
  if (node.dataset === undefined) return new Set();
  const text = await ask(host, listSnapshots(vmDataset(node.dataset, spec.name)), NO_DATASET);
  return new Set(text.split('\n').flatMap((line) => line.split('\t')[0] || []));
};

/** Its stamp, if it says what it said when this brigd first saw that stamp. */
const stampSeen = async (host: Host, node: Node, anchor: string): Promise<[string, string]> => {
  const texts = await Promise.all([ask(host, showAnchor(anchor, 'nat')), ask(host, showAnchor(anchor, 'rules'))]);
  const text = texts.join('');
  const stamp = stampOf(text);
  const first = node.trusted.get(anchor);
  if (first?.stamp === stamp && first.text !== text) return [anchor, 'changed'];
  node.trusted.set(anchor, { stamp, text });
  return [anchor, stamp];
};

const readAnchors = async (
  host: Host,
  node: Node,
  vm: Vm,
  { pf }: Seen,
): Promise<{ anchors?: ReadonlyMap<string, string> }> => {
  const names = [vmAnchorName(vm.spec.name), ...vm.place.nics.map(({ network }) => networkAnchorName(network.name))];
  const there = [...new Set(names)].filter((name) => pf?.anchors.has(name));
  return there.length === 0
    ? {}
    : { anchors: new Map(await Promise.all(there.map((each) => stampSeen(host, node, each)))) };
};

/** More about one VM: two processes; two more for each of its anchors, one for its snapshots. */
export const look = async (host: Host, node: Node, vm: Vm, seen: Seen, withSnapshots: boolean): Promise<Focus> => {
  const jail = jailOf(vm.spec.name);
  const alive = seen.jails.some((each) => each.name === jail && !each.dying);
  const files = node.layout.vm(vm.spec.name);
  const routed = vm.place.nics.some((nic) => (nic.link?.routes.length ?? 0) > 0);
  const [inside, rules, runFiles, configFiles, diskFiles, routes, anchors] = await Promise.all([
    alive ? ask(host, listInterfaces(jail), ...NO_JAIL).then(parseInterfaces) : [],
    seen.rulesets.has(vm.place.uid) ? ask(host, showRules(vm.place.uid)) : '',
    names(host, files.run),
    names(host, files.config),
    names(host, files.disk),
    routed ? ask(host, listRoutes()).then(parseRoutes) : undefined,
    readAnchors(host, node, vm, seen),
  ]);
  const focus = {
    inside: byName(inside),
    rules,
    runFiles,
    configFiles,
    diskFiles,
    ...(routes ? { routes } : {}),
    ...anchors,
  };
  if (!withSnapshots) return focus;
  const [snapshots, snapshotDirs] = await Promise.all([snapshotsOf(host, node, vm), names(host, files.snapshots)]);
  return { ...focus, snapshots, snapshotDirs };
};
