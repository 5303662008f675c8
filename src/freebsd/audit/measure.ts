import type { Command, FileStat, Host } from '../../base/host.ts';
import { compareFile } from '../../image/base-compare.ts';
import type { Manifest } from '../../spec/manifest.ts';
import type { Vm } from '../../platform/platform.ts';
import { INSIDE_FILE, INSIDE_SCRIPT } from '../../platform/inside.ts';
import { command } from '../../platform/command.ts';
import { jailOf, type Node } from '../node.ts';
import { look, observe, type Focus, type Seen } from '../observe.ts';
import { asUser, maskConfig } from '../programs/bhyve.ts';
import { showCpus, parseCpus } from '../programs/cpuset.ts';
import { releaseOf } from '../programs/freebsd-version.ts';
import { jexec } from '../programs/jexec.ts';
import { listParameters, parseParameters } from '../programs/jls.ts';
import {
  parseCredentials,
  parseDescriptors,
  parseEnvironment,
  parseLimits,
  showCredentials,
  showDescriptors,
  showEnvironment,
  showLimits,
  type Credentials,
  type Descriptor,
} from '../programs/procstat.ts';
import type { Process } from '../programs/ps.ts';

/** What one look at the whole host told: the same number of processes for one VM and for a thousand. */
export interface HostFacts {
  readonly seen: Seen;
  /** Parameters of each jail by name. */
  readonly parameters: ReadonlyMap<string, ReadonlyMap<string, string>>;
  readonly credentials: ReadonlyMap<number, Credentials>;
  readonly descriptors: ReadonlyMap<number, readonly Descriptor[]>;
  readonly environments: ReadonlyMap<number, readonly string[]>;
  readonly limits: ReadonlyMap<number, ReadonlyMap<string, string>>;
  /** Text of passwd(5). */
  readonly passwd: string;
  /** `freebsd-version -u`. */
  readonly release: string;
}

/** A file as an audit sees it: path from the top of what was walked. */
export interface Entry {
  readonly path: string;
  readonly stat: FileStat;
}

/** What is known of a base. */
export interface Base {
  readonly manifest?: Manifest;
  readonly problems: readonly string[];
}

/** Looks up bases by their files. */
export type Inspect = (host: Host, file: string) => Promise<Base>;

/** What was measured of one VM; absent parts could not be. */
export interface Measured {
  readonly node: Node;
  readonly vm: Vm;
  readonly host: HostFacts;
  readonly focus: Focus;
  readonly process: Process | undefined;
  /** Everything below ROOT/dev. */
  readonly dev: readonly Entry[];
  /** Everything of ROOT's own file system. */
  readonly root: readonly Entry[];
  /** The base that its root is mounted from. */
  readonly base: Base;
  /** Files of the root that are not as signed. */
  readonly altered: readonly string[];
  /** Files of the run directory and of the VM's disks, by absolute path. */
  readonly files: ReadonlyMap<string, FileStat>;
  /** What the jail's own shell said; undefined when it could not run. */
  readonly inside: string | undefined;
  /** CPUs of the jail; undefined when nobody asked for a set. */
  readonly cpus: string | undefined;
  /** bhyve's configuration as it is on disk. */
  readonly config: string | undefined;
}

/** Of other file systems in the root: measured as mounts. */
const MOUNT_POINTS = ['/dev', '/tmp', '/vm', '/disk'];

const textOf = async (host: Host, what: Command): Promise<string | undefined> => {
  const { status, stdout, timedOut } = await host.run(what);
  return status === 0 && !timedOut ? stdout : undefined;
};

const parsed = async <T>(host: Host, what: Command, parse: (text: string) => T, nothing: T): Promise<T> => {
  const text = await textOf(host, what);
  return text === undefined || text.trim() === '' ? nothing : parse(text);
};

/** Errors: as observe's. */
export const measureHost = async (host: Host, node: Node, vms: readonly Vm[]): Promise<HostFacts> => {
  const seen = await observe(host, node);
  const jails = new Set(vms.map((vm) => jailOf(vm.spec.name)));
  const pids = seen.processes.filter((each) => jails.has(each.jail)).map((each) => each.pid);
  const none = pids.length === 0;
  const [parameters, credentials, descriptors, environments, limits, passwd, release] = await Promise.all([
    parsed(host, listParameters(node.features.jailParameters), parseParameters, new Map()),
    none ? new Map<number, Credentials>() : parsed(host, showCredentials(pids), parseCredentials, new Map()),
    none ? new Map<number, Descriptor[]>() : parsed(host, showDescriptors(pids), parseDescriptors, new Map()),
    none ? new Map<number, string[]>() : parsed(host, showEnvironment(pids), parseEnvironment, new Map()),
    none ? new Map() : parsed(host, showLimits(pids), parseLimits, new Map()),
    host.readFile('/etc/passwd'),
    textOf(host, releaseOf()),
  ]);
  return {
    seen,
    parameters,
    credentials,
    descriptors,
    environments,
    limits,
    passwd: passwd ?? '',
    release: (release ?? 'unknown').trim(),
  };
};

/** Every entry below a directory, without entering what `skip` names; links are not followed. */
export const walk = async (host: Host, top: string, skip: readonly string[], at = ''): Promise<Entry[]> => {
  const names = (await host.list(`${top}${at}`)) ?? [];
  const found = await Promise.all(
    names.sort().map(async (name) => {
      const path = `${at}/${name}`;
      const stat = await host.stat(`${top}${path}`);
      if (!stat) return [];
      const below = stat.kind === 'directory' && !skip.includes(path) ? await walk(host, top, skip, path) : [];
      return [{ path, stat }, ...below];
    }),
  );
  return found.flat();
};

/** As the VM's uid, in its jail, by the jail's own sh(1). What it leaves in writable directories is removed. */
const askInside = async (host: Host, node: Node, vm: Vm): Promise<string | undefined> => {
  const [program = '', ...args] = jexec(jailOf(vm.spec.name), asUser(vm.place.uid, ['/bin/sh', '-s']));
  const said = await textOf(host, command(program, args, { stdin: INSIDE_SCRIPT }));
  const { root } = node.layout.vm(vm.spec.name);
  for (const directory of writesOf(said ?? '')) await host.remove(`${root}${directory}${INSIDE_FILE}`);
  return said;
};

/** Directories that the script could write to, each with a slash at its end. */
export const writesOf = (said: string): string[] => [...said.matchAll(/^writes (\/.*)$/gm)].map((m) => m[1] ?? '');

const statAll = async (host: Host, paths: readonly string[]): Promise<ReadonlyMap<string, FileStat>> => {
  const found = await Promise.all(paths.map(async (path) => [path, await host.stat(path)] as const));
  return new Map(found.flatMap(([path, stat]) => (stat ? [[path, stat]] : [])));
};

/** Reads every file of the root through its mount: what is executed is what is measured. */
const compareRoot = async (host: Host, root: string, { manifest }: Base): Promise<string[]> => {
  const found = await Promise.all(
    (manifest?.files ?? []).map(async (file) => compareFile(file, await host.digest(`${root}${file.path}`))),
  );
  return found.flat();
};

const NO_BASE: Base = { problems: ['nothing is mounted at its root'] };

/** Errors: as observe's. Three processes, one more for a VM with a CPU set. */
export const measureVm = async (
  host: Host,
  node: Node,
  vm: Vm,
  facts: HostFacts,
  paths: readonly string[],
  inspect: Inspect,
): Promise<Measured> => {
  const { name, limits } = vm.spec;
  const { root, config } = node.layout.vm(name);
  const process = facts.seen.processes.find((each) => each.jail === jailOf(name) && each.command.startsWith('bhyve'));
  const special = facts.seen.mounts.findLast((each) => each.node === root)?.special;
  const base = special === undefined ? NO_BASE : await inspect(host, special);
  const [focus, dev, own, files, inside, cpus, text, altered] = await Promise.all([
    look(host, node, vm, facts.seen, false),
    walk(host, `${root}/dev`, []),
    walk(host, root, MOUNT_POINTS).then((all) => all.filter(({ path }) => !MOUNT_POINTS.includes(path))),
    statAll(host, paths),
    process ? askInside(host, node, vm) : undefined,
    limits.cpuset === undefined ? undefined : parsed(host, showCpus(jailOf(name)), parseCpus, undefined),
    host.readFile(`${config}/bhyve.conf`).then((each) => each && maskConfig(each)),
    compareRoot(host, root, base),
  ]);
  return { node, vm, host: facts, focus, process, dev, root: own, files, inside, cpus, config: text, base, altered };
};
