import { USERS } from './base-system.ts';
import { Clock } from './clock.ts';

/** What `createModel` may be told. */
export interface ModelOptions {
  /** Equal seeds give equal runs. */
  readonly seed?: number;
  readonly cpus?: number;
  readonly memoryBytes?: number;
  /** A pool that is there from the start, for example `tank`. */
  readonly pool?: string | undefined;
  /** The release. */
  readonly mode?: '14' | '15';
  /** `real`: time passes as on the machine's clock; for people who play with the model. */
  readonly pace?: 'virtual' | 'real';
}

export interface Owner {
  mode: number;
  uid: number;
  gid: number;
}

export interface FileNode extends Owner {
  readonly kind: 'file';
  content: Uint8Array;
  /** Size of a sparse file; otherwise that of the content. */
  bytes: number;
  /** When it was put where it is, milliseconds since the epoch. */
  modifiedMs?: number;
  /** Digest of a file whose content the model does not keep: one in an archive. */
  readonly sha256?: string;
}

export interface DirectoryNode extends Owner {
  readonly kind: 'directory';
  readonly entries: Map<string, Node>;
}

/** A FIFO keeps what nobody has read yet. */
export interface FifoNode extends Owner {
  readonly kind: 'fifo';
  pending: Buffer[];
  pendingBytes: number;
  readonly readers: ((chunk: Buffer) => void)[];
  /** How many have both ends open. */
  holders: number;
}

export interface SocketNode extends Owner {
  readonly kind: 'socket';
}

export interface DeviceNode extends Owner {
  readonly kind: 'device';
  readonly device: Device;
}

export type Node = FileNode | DirectoryNode | FifoNode | SocketNode | DeviceNode;

/** A character device. `jid`: made with the credential of that jail, and invisible to the others. */
export interface Device extends Owner {
  readonly name: string;
  readonly jid?: number;
}

/** What the rules of a devfs mount made of a node when it appeared. */
export interface Attributes extends Owner {
  readonly hidden: boolean;
}

export interface DevfsView {
  readonly ruleset: number;
  /** Of what somebody has looked at, or what was there before the rules changed. */
  devices: WeakMap<Device, Attributes>;
  readonly directories: Map<string, boolean>;
}

export interface Mount {
  readonly special: string;
  readonly node: string;
  readonly type: string;
  readonly flags: string;
  /** Last columns of fstab(5). */
  readonly pass: string;
  readonly readOnly: boolean;
  readonly root: Node;
  readonly devfs?: DevfsView;
}

export interface Rule {
  readonly number: number;
  readonly path?: string;
  readonly type?: string;
  readonly hide?: boolean;
  readonly user?: number;
  readonly group?: number;
  readonly mode?: number;
  readonly include?: number;
}

export interface Jail {
  readonly jid: number;
  readonly name: string;
  readonly path: string;
  readonly vnet: boolean;
  dying: boolean;
  /** As given to jail(8): `allow.vmm` is `true`, `meta.brig_vm` a text. */
  readonly parameters: Map<string, string | boolean>;
  cpuset: string | undefined;
  /** An nmdm that was cloned inside and opened outside never goes (FACTS S.3). */
  pinned: boolean;
}

export interface Member {
  readonly interface: Interface;
  private: boolean;
  /** VLANs, where the bridge keeps them apart. */
  untagged?: string;
  tagged?: string;
}

/** Numbers and ends of a vlan or vxlan. */
export interface Tunnel {
  id?: number;
  /** Name of the interface below a vlan. */
  parent?: string;
  local?: string;
  remote?: string;
  /** Multicast, in a remote's place. */
  group?: string;
  port?: string;
}

export interface Interface {
  name: string;
  readonly kind: 'tap' | 'epair' | 'bridge' | 'vlan' | 'vxlan' | 'lo' | 'ether' | 'pflog';
  /** What a vlan or vxlan was told. */
  readonly tunnel: Tunnel;
  readonly unit: number;
  /** Name at birth: that of the cloner and of the tap's device. */
  readonly origin: string;
  readonly index: number;
  /** jid of the vnet it is in, 0: the host. */
  vnet: number;
  /** jid of the vnet that made it. */
  readonly home: number;
  up: boolean;
  description: string | undefined;
  groups: string[];
  ether: string;
  readonly hwaddr: string;
  mtu: number;
  addresses: string[];
  /** Newest first. */
  members: Member[];
  /** The bridge that it is a member of. */
  bridge: Interface | undefined;
  vlanfilter: boolean;
  peer?: Interface;
  openedBy: number | undefined;
}

export interface Process {
  readonly pid: number;
  ppid: number;
  jid: number;
  uid: number;
  gid: number;
  /** Supplementary groups: what `chroot -G` is for. */
  groups: readonly number[];
  stat: string;
  command: string;
  /** Where its descriptors 0, 1 and 2 go. */
  stdio: readonly string[];
  /** Its variables, as `NAME=value`. */
  environment: readonly string[];
  /** Hard limits by the names of procstat(1); absent: none. */
  limits: ReadonlyMap<string, number>;
  rssKilobytes: number;
  readonly startedMs: number;
  /** Devices and files it holds open, as paths below /dev or absolute. */
  readonly opened: Set<string>;
  /** True when the process took care of the signal. */
  onSignal?: (signal: number) => boolean;
  readonly onExit: ((status: number) => void)[];
  /** Stopped by SIGSTOP: what it will do once it goes on. */
  stopped?: (() => void)[];
}

/** A machine in vmm(4). */
export interface Vm {
  readonly name: string;
  readonly jid: number;
  readonly pid: number;
  readonly cpus: number;
  /** The process is gone. */
  ended: boolean;
  /** Its vCPUs were never suspended: the next start finds it busy. */
  stale: boolean;
}

export interface Dataset {
  readonly name: string;
  readonly type: 'filesystem' | 'volume' | 'snapshot';
  readonly properties: Map<string, string>;
  readonly origin?: string;
  volumeBytes: number;
  /** What was written to a volume; a snapshot and its clones share it until one of them is written to. */
  content: Uint8Array;
  readonly createdMs: number;
  readonly txg: number;
  readonly holds: Map<string, number>;
  /** How often it was rolled back under whoever has it open. */
  rollbacks: number;
  readonly root?: DirectoryNode;
}

/** A host whose network lock is held for ever by one that waits for a tap to be closed (FACTS 0.10). */
export interface Wedge {
  readonly taps: readonly Interface[];
  /** What the one who waits in the kernel does once the taps are closed. */
  readonly complete: () => void;
  readonly waiters: Set<() => void>;
}

/** What a person at the guest's keyboard can do, and what the guest has said. */
export interface GuestState {
  ignoreAcpi: boolean;
  output: string;
  /** Present while the guest runs. */
  machine?: { readonly process: Process; input(text: string): void };
}

/** A host's posture, as far as somebody asks. */
export interface Posture {
  /** freebsd-version(1). */
  release: string;
  /** Swap devices. */
  swap: string[];
  /** Daemons that run. */
  readonly services: Set<string>;
  /** Boot scripts that rc.conf(5) enables. */
  readonly enabled: Set<string>;
  poolHealth: string;
  /** TCP ports that the host reaches, each `ADDRESS PORT`. */
  readonly ports: Set<string>;
  /** Neighbours that do not answer. */
  readonly mute: Set<string>;
}

/** Rules as pf prints them. */
export interface Ruleset {
  translations: string[];
  filters: string[];
}

/** pf(4) of the host. */
export interface PacketFilter {
  enabled: boolean;
  readonly main: Ruleset;
  readonly anchors: Map<string, Ruleset>;
}

/** The whole machine. */
export class World {
  readonly clock: Clock;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly pool: string | undefined;
  readonly mode: '14' | '15';
  readonly root: DirectoryNode = { kind: 'directory', mode: 0o755, uid: 0, gid: 0, entries: new Map() };
  readonly tmp: DirectoryNode = { kind: 'directory', mode: 0o1777, uid: 0, gid: 0, entries: new Map() };
  /** Counts reboots: what was under way before one does not happen after it. */
  boot = 0;
  /** In the order of mounting; changed by attach and detach only. */
  mounts: Mount[] = [];
  /** The same by mount point: the last one covers the others. */
  readonly mountsAt = new Map<string, Mount[]>();
  /** Those of a devfs, by ruleset. */
  readonly devfsMounts = new Map<number, Set<Mount>>();
  jails: Jail[] = [];
  lastJid = 0;
  interfaces: Interface[] = [];
  /** Theirs, over all vnets; below the lowest none is free. */
  indices = { used: new Set<number>(), lowest: 1 };
  readonly rulesets = new Map<number, Rule[]>();
  /** Those that others include, or did. */
  readonly included = new Set<number>();
  readonly devices = new Map<string, Device>();
  readonly processes = new Map<number, Process>();
  lastPid = 2000;
  readonly vms = new Map<string, Vm>();
  readonly datasets = new Map<string, Dataset>();
  lastTxg = 4;
  /** Users that getpwuid(3) finds. */
  readonly users: Map<number, string>;
  readonly modules = new Set<string>();
  readonly sysctls = new Map<string, string>();
  /** rctl(8) rules in the order of their addition. */
  limits: string[] = [];
  wedge: Wedge | undefined;
  readonly guests = new Map<string, GuestState>();
  /** Roots of jails that are gone, busy until that moment (FACTS S.4). */
  /** What a host is beside brig: a test bends it. */
  readonly posture: Posture = {
    release: '15.1-STABLE',
    swap: [],
    services: new Set(),
    enabled: new Set(['brigd']),
    poolHealth: 'ONLINE',
    ports: new Set(),
    mute: new Set(),
  };
  /** Beside those of the interfaces' own addresses. */
  routes: { readonly to: string; readonly via: string | undefined; readonly interface: string }[] = [];
  readonly packetFilter: PacketFilter = { enabled: false, main: { translations: [], filters: [] }, anchors: new Map() };
  readonly lingering = new Map<string, number>();
  /** Set by hand, as in loader.conf(5): they survive a reboot. */
  readonly tunables = new Map<string, string>();
  readonly watchers = new Map<string, Set<() => void>>();
  /** What the kernel would print. */
  readonly log: string[] = [];
  #random: number;

  constructor(options: ModelOptions) {
    this.#random = (options.seed ?? 1) >>> 0;
    this.cpus = options.cpus ?? 8;
    this.memoryBytes = options.memoryBytes ?? 16 * 2 ** 30;
    this.pool = options.pool;
    this.mode = options.mode ?? '15';
    this.users = new Map(USERS);
    // The day of the recordings.
    this.clock = new Clock(1_795_400_000_000, options.pace);
  }

  /** A number below `limit`: mulberry32 from the seed. */
  random(limit: number): number {
    this.#random = (this.#random + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#random ^ (this.#random >>> 15), this.#random | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
  }

  nextPid(): number {
    // A wave of short-lived processes lies between any two that anybody sees.
    this.lastPid += 1 + this.random(3);
    return this.lastPid;
  }

  nextTxg(): number {
    this.lastTxg += 1;
    return this.lastTxg;
  }

  guest(name: string): GuestState {
    const known = this.guests.get(name) ?? { ignoreAcpi: false, output: '' };
    this.guests.set(name, known);
    return known;
  }
}
