import type { FileStat, Host } from '../../base/host.ts';
import type { Vm } from '../../platform/platform.ts';
import { spaceOf } from '../node.ts';
import type { Seen } from '../observe.ts';
import { listLinks, parseLinks, type Link } from '../programs/ip.ts';
import { parseMountinfo, type Mount } from '../programs/mounts.ts';
import { qemuOf } from '../steps/process.ts';
import { parseStatus, type Status } from '../programs/proc.ts';

/** Kinds of namespace that every VM has of its own. */
export const SPACES = ['mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup'] as const;

/** One file in the sandbox, seen from outside. */
export interface Entry extends FileStat {
  readonly path: string;
}

/** What was read of one running VM. Undefined: it could not be read. */
export interface Facts {
  readonly pid: number;
  readonly seen: Seen;
  /** Of every thread. */
  readonly tasks?: readonly Status[];
  readonly limits?: string;
  readonly environment?: string;
  /** Descriptor and what it leads to. */
  readonly open?: readonly string[];
  readonly mounts?: readonly Mount[];
  readonly hostMounts?: readonly Mount[];
  readonly entries?: readonly Entry[];
  /** Inodes of namespaces: this VM's, brigd's, and those of other processes of VMs. */
  readonly spaces: { readonly own: Names; readonly host: Names; readonly others: readonly Names[] };
  readonly links?: readonly Link[];
  /** Files below /proc/PID/net and /proc/PID/cgroup. */
  readonly proc: ReadonlyMap<string, string>;
  readonly passwd: string;
  /** cgroup files that the plan names. */
  readonly settings: ReadonlyMap<string, string>;
  readonly stats: ReadonlyMap<string, FileStat>;
  readonly texts: ReadonlyMap<string, string>;
  /** Paths of the host without their symbolic links. */
  readonly real: ReadonlyMap<string, string>;
  /** swtpm(8). */
  readonly tpm?: Status;
  readonly hostCpus?: string;
}

type Names = ReadonlyMap<string, string>;

/** What vanishes while it is read is undefined, as what was never there. */
const quiet = <T>(work: Promise<T | undefined>): Promise<T | undefined> => work.catch(() => undefined);

const read = (host: Host, path: string): Promise<string | undefined> => quiet(host.readFile(path));

/** Every path that can be read, with its text or whatever `ask` finds. */
const each = async <T>(
  paths: readonly string[],
  ask: (path: string) => Promise<T | undefined>,
): Promise<Map<string, T>> => {
  const found = await Promise.all(paths.map(async (path) => [path, await quiet(ask(path))] as const));
  return new Map(found.flatMap(([path, value]) => (value === undefined ? [] : [[path, value] as const])));
};

const spacesOf = async (host: Host, pid: number | 'self'): Promise<Names> => {
  const found = await each(
    SPACES.map((name) => `/proc/${pid}/ns/${name}`),
    (path) => host.readLink(path),
  );
  return new Map([...found].map(([path, inode]) => [path.slice(path.lastIndexOf('/') + 1), inode]));
};

const tasksOf = async (host: Host, pid: number): Promise<readonly Status[] | undefined> => {
  const ids = await quiet(host.list(`/proc/${pid}/task`));
  if (!ids) return undefined;
  const texts = await Promise.all(ids.map((id) => read(host, `/proc/${pid}/task/${id}/status`)));
  return texts.flatMap((text) => (text === undefined ? [] : [parseStatus(text)]));
};

const openOf = async (host: Host, pid: number): Promise<readonly string[] | undefined> => {
  const fds = await quiet(host.list(`/proc/${pid}/fd`));
  if (!fds) return undefined;
  const found = await each(fds, (fd) => host.readLink(`/proc/${pid}/fd/${fd}`));
  return [...found].map(([fd, target]) => `${fd} ${target}`);
};

/** A sandbox has some 200 files; one with more than this has something that nobody planned. */
const MOST_ENTRIES = 5_000;

/** Every file from the root of a process on, without following links, and without the inside of `opaque` directories. */
const walk = async (host: Host, pid: number, opaque: ReadonlySet<string>): Promise<readonly Entry[] | undefined> => {
  const root = `/proc/${pid}/root`;
  const entries: Entry[] = [];
  const enter = async (directory: string): Promise<void> => {
    const names = (await host.list(`${root}${directory}/`)) ?? [];
    for (const name of names) {
      const path = `${directory}/${name}`;
      const stat = await host.stat(`${root}${path}`);
      if (!stat || entries.length >= MOST_ENTRIES) continue;
      entries.push({ path, ...stat });
      if (stat.kind === 'directory' && !opaque.has(path)) await enter(path);
    }
  };
  return await quiet(enter('').then(() => entries));
};

const NET = ['dev', 'unix', 'tcp', 'tcp6', 'udp', 'udp6', 'udplite', 'raw', 'raw6', 'packet'];

const linksOf = async (host: Host, name: string): Promise<readonly Link[] | undefined> => {
  const result = await host.run(listLinks(spaceOf(name)));
  return result.status === 0 ? parseLinks(result.stdout) : undefined;
};

/** Which files of the host a VM's audit looks at. */
export interface Look {
  readonly opaque: ReadonlySet<string>;
  readonly stats: readonly string[];
  readonly texts: readonly string[];
  readonly settings: readonly string[];
  readonly sources: readonly string[];
}

/** A chain of links longer than this is a circle. Source: path_resolution(7) */
const MOST_LINKS = 40;

const joinLink = (parent: string, target: string): string => (target.startsWith('/') ? target : `${parent}/${target}`);

/** realpath(3) over the port; what several paths have in common is asked once. */
const resolver = (host: Host): ((path: string) => Promise<string>) => {
  const known = new Map<string, Promise<string | undefined>>();
  const linkAt = (path: string): Promise<string | undefined> => {
    const asked = known.get(path) ?? quiet(host.readLink(path));
    known.set(path, asked);
    return asked;
  };
  return async (path) => {
    let left = path.split('/');
    let done = '';
    for (let links = 0; left.length > 0 && links < MOST_LINKS;) {
      const [name = '', ...rest] = left;
      left = rest;
      if (name === '' || name === '.') continue;
      if (name === '..') {
        done = done.slice(0, done.lastIndexOf('/'));
        continue;
      }
      const target = await linkAt(`${done}/${name}`);
      if (target === undefined) {
        done = `${done}/${name}`;
        continue;
      }
      links += 1;
      left = [...joinLink(done, target).split('/'), ...left];
      done = '';
    }
    return done;
  };
};

const mountsOf = async (host: Host, pid: number | 'self'): Promise<readonly Mount[] | undefined> => {
  const text = await read(host, `/proc/${pid}/mountinfo`);
  return text === undefined ? undefined : parseMountinfo(text);
};

const tpmStatus = async (host: Host, { place }: Vm, seen: Seen): Promise<Status | undefined> => {
  const swtpm = seen.processes.find(({ uid, args }) => uid === place.uid && args.startsWith('/usr/bin/swtpm '));
  const text = swtpm && (await read(host, `/proc/${swtpm.pid}/status`));
  return text === undefined ? undefined : parseStatus(text);
};

/** Undefined: there is no QEMU. One process, ip(8); all else are files. */
export const gather = async (host: Host, vm: Vm, seen: Seen, look: Look): Promise<Facts | undefined> => {
  const { pid } = qemuOf(vm.place.uid, seen) ?? {};
  if (pid === undefined) return undefined;
  const proc = `/proc/${pid}`;
  const others = seen.processes.filter(
    (other) => other.uid !== 0 && other.pid !== pid && other.args.includes(' -name brig-'),
  );
  const optional = {
    tasks: await tasksOf(host, pid),
    limits: await read(host, `${proc}/limits`),
    environment: await read(host, `${proc}/environ`),
    open: await openOf(host, pid),
    mounts: await mountsOf(host, pid),
    hostMounts: await mountsOf(host, 'self'),
    entries: await walk(host, pid, look.opaque),
    links: await quiet(linksOf(host, vm.spec.name)),
    tpm: await tpmStatus(host, vm, seen),
    hostCpus: parseStatus((await read(host, '/proc/self/status')) ?? '').get('Cpus_allowed_list'),
  };
  return {
    ...(Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)) as Partial<Facts>),
    pid,
    seen,
    spaces: {
      own: await spacesOf(host, pid),
      host: await spacesOf(host, 'self'),
      others: await Promise.all(others.map((other) => spacesOf(host, other.pid))),
    },
    proc: await each([...NET.map((name) => `${proc}/net/${name}`), `${proc}/cgroup`], (path) => host.readFile(path)),
    passwd: (await read(host, '/etc/passwd')) ?? '',
    settings: await each(look.settings, (path) => host.readFile(path)),
    stats: await each(look.stats, (path) => host.stat(path)),
    texts: await each(look.texts, (path) => host.readFile(path)),
    real: await each(look.sources, resolver(host)),
  };
};
