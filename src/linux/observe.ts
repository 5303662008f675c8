import type { Command, Host } from '../base/host.ts';
import { BrigError } from '../base/errors.ts';
import type { Vm } from '../platform/platform.ts';
import { partsOf, tpmOf } from './devices.ts';
import { networkChains } from '../net/nft.ts';
import { limitsOf } from './limits.ts';
import { CONTROLLERS, spaceOf, vmOfSpace, type Node } from './node.ts';
import { membersOf } from './programs/cgroup.ts';
import { FORWARDING } from './programs/system.ts';
import { listChains, parseChains, parseStamp, showChain } from './programs/nft.ts';
import { listLinks, listRoutes, NETNS_DIR, parseLinks, parseRoutes, type Link } from './programs/ip.ts';
import { listProcesses, parseProcesses, type Process } from './programs/ps.ts';
import { parseMountinfo } from './programs/mounts.ts';
import { RUNNING } from './programs/qemu.ts';

/** What the host said, once, about everything brig could own. */
export interface Seen {
  readonly processes: readonly Process[];
  readonly links: ReadonlyMap<string, Link>;
  /** Names of network namespaces. */
  readonly spaces: ReadonlySet<string>;
  /** Directories of brig's cgroups. */
  readonly cgroups: ReadonlySet<string>;
  /** Names in runDir/vms. */
  readonly runDirs: ReadonlySet<string>;
  /** Chains of brig's own table, once this brigd has planned some. Shape: `bridge from-7000` */
  readonly chains: ReadonlySet<string>;
  /** Those of FORWARDING that say yes. */
  readonly forwarding: ReadonlySet<string>;
  /** More about one VM. */
  readonly focus?: Focus;
}

export interface Focus {
  readonly vm: string;
  /** Interfaces in the VM's namespace. */
  readonly inside: ReadonlyMap<string, Link>;
  readonly runFiles: ReadonlySet<string>;
  readonly configFiles: ReadonlySet<string>;
  /** Texts of the files of its cgroups that the plan names, and of their lists of members. */
  readonly limits: ReadonlyMap<string, string>;
  /** Undefined: there is no such directory. */
  readonly diskFiles?: ReadonlySet<string>;
  readonly snapshotDirs?: ReadonlySet<string>;
  readonly hasTpm: boolean;
  /** Mount points in the run directory. */
  readonly mounts: ReadonlySet<string>;
  /** Stamps of its chains; of one that somebody changed: none. Only where it has some. */
  readonly rules?: ReadonlyMap<string, string>;
  /** Chains that were looked into. */
  readonly looked?: ReadonlySet<string>;
  /** Only of a VM with links of its own: `10.9.0.5 brigv7000`. */
  readonly routes?: ReadonlySet<string>;
  /** QEMU has said that its CPUs run. */
  readonly ready: boolean;
}

const ask = async (host: Host, command: Command): Promise<string> => {
  const result = await host.run(command);
  if (result.status === 0 && !result.timedOut) return result.stdout;
  const why = result.timedOut
    ? `no answer within ${command.timeoutMs / 1000} s`
    : `status ${result.status}: ${result.stderr.trim()}`;
  throw new BrigError(result.timedOut ? 'host.timeout' : 'host.failed', `observe ${command.program}: ${why}`, {
    retry: 'operator',
  });
};

const byName = (links: readonly Link[]): ReadonlyMap<string, Link> => new Map(links.map((link) => [link.name, link]));

const names = async (host: Host, path: string): Promise<ReadonlySet<string>> => new Set(await host.list(path));

/** Directories named like brig's in the root of each controller. */
const listCgroups = async (host: Host, { features }: Node): Promise<ReadonlySet<string>> => {
  const roots = new Set(CONTROLLERS.flatMap((name) => features[name]?.root ?? []));
  const found = await Promise.all(
    [...roots].map(async (root) =>
      ((await host.list(root)) ?? []).filter((name) => vmOfSpace(name)).map((name) => `${root}/${name}`),
    ),
  );
  return new Set(found.flat());
};

const NO_CHAINS: ReadonlySet<string> = new Set();

const readForwarding = async (host: Host): Promise<ReadonlySet<string>> => {
  const texts = await Promise.all(FORWARDING.map(async (path) => [path, await host.readFile(path)] as const));
  return new Set(texts.flatMap(([path, text]) => (text?.trim() === '1' ? [path] : [])));
};

const readRoutes = async (host: Host, { place }: Vm): Promise<{ routes?: ReadonlySet<string> }> => {
  if (place.nics.every(({ link }) => (link?.routes.length ?? 0) === 0)) return {};
  const texts = await Promise.all([ask(host, listRoutes('-4')), ask(host, listRoutes('-6'))]);
  return { routes: new Set(texts.flatMap(parseRoutes)) };
};

/**
 * One look at the whole host: two processes whatever the number of VMs.
 * Errors: host.timeout when the host is wedged, host.failed when a program does not answer as Debian's does.
 */
export const observe = async (host: Host, node: Node): Promise<Seen> => {
  const [processes, links, spaces, cgroups, runDirs, forwarding, chains] = await Promise.all([
    ask(host, listProcesses()).then(parseProcesses),
    ask(host, listLinks()).then(parseLinks),
    names(host, NETNS_DIR),
    listCgroups(host, node),
    names(host, `${node.paths.runDir}/vms`),
    readForwarding(host),
    node.asks.has('firewall.create') ? ask(host, listChains()).then(parseChains) : NO_CHAINS,
  ]);
  return { processes, links: byName(links), spaces, cgroups, runDirs, forwarding, chains };
};

const readLimits = async (host: Host, node: Node, vm: Vm): Promise<ReadonlyMap<string, string>> => {
  const { groups } = limitsOf(node, vm, partsOf(vm, node.layout.vm(vm.spec.name)));
  const paths = groups.flatMap(({ dir, set }) => [membersOf(dir), ...set.map(([file]) => `${dir}/${file}`)]);
  const texts = await Promise.all(paths.map(async (path) => [path, await host.readFile(path)] as const));
  return new Map(texts.flatMap(([path, text]) => (text === undefined ? [] : [[path, text] as const])));
};

/**
 * Its stamp and how many rules it has, if it says what it said when this brigd first saw that stamp.
 * A chain that went since the host was looked at has none, like one that somebody changed.
 */
const stampOf = async (host: Host, node: Node, chain: string): Promise<[string, string][]> => {
  const { stdout } = await host.run(showChain(chain));
  const stamp = parseStamp(stdout);
  if (stamp === undefined) return [];
  const first = node.trusted.get(chain);
  if (first?.stamp === stamp && first.text !== stdout) return [];
  node.trusted.set(chain, { stamp, text: stdout });
  return [[chain, stamp]];
};

/** Stamps of a VM's chains; only where it has some. */
export const readRules = async (
  host: Host,
  node: Node,
  vm: Vm,
  { chains }: Seen,
): Promise<{ rules?: ReadonlyMap<string, string>; looked?: ReadonlySet<string> }> => {
  const units = vm.place.nics.flatMap(({ unit, policy }) => (policy ? [String(unit)] : []));
  const nets = vm.place.nics.flatMap(({ network: { router } }) => (router ? [...networkChains(router).keys()] : []));
  const own = [...chains].filter((chain) => units.includes(chain.replace(/^.*-/, '')) || nets.includes(chain));
  const stamps = await Promise.all(own.map((chain) => stampOf(host, node, chain)));
  return own.length === 0 ? {} : { rules: new Map(stamps.flat()), looked: new Set(own) };
};

/** More about one VM: one process, and one for each chain of its rules. */
export const look = async (host: Host, node: Node, vm: Vm, seen: Seen): Promise<Focus> => {
  const { spec } = vm;
  const files = node.layout.vm(spec.name);
  const space = spaceOf(spec.name);
  const [inside, limits, runFiles, configFiles, snapshotDirs, diskFiles, tpm, mounts, said] = await Promise.all([
    seen.spaces.has(space) ? ask(host, listLinks(space)).then(parseLinks) : [],
    readLimits(host, node, vm),
    names(host, files.run),
    names(host, files.config),
    names(host, files.snapshots),
    host.list(files.disk),
    host.stat(tpmOf(files).dir),
    host.readFile('/proc/self/mountinfo'),
    host.readFile(files.err),
  ]);
  const routes = await readRoutes(host, vm);
  const rules = await readRules(host, node, vm, seen);
  return {
    vm: spec.name,
    inside: byName(inside),
    limits,
    runFiles,
    configFiles,
    snapshotDirs,
    hasTpm: tpm?.kind === 'directory',
    mounts: new Set(parseMountinfo(mounts ?? '').flatMap(({ at }) => (at.startsWith(`${files.run}/`) ? [at] : []))),
    // A process without that file has lost it to somebody.
    ready: said?.includes(RUNNING) ?? true,
    ...routes,
    ...rules,
    ...(diskFiles === undefined ? {} : { diskFiles: new Set(diskFiles) }),
  };
};
