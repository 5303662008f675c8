import type { Command, DiskPort, Host } from '../base/host.ts';
import type { Attached, Moved, NetworkPlacement, Placement } from '../base/placed.ts';
import type { Catalogue, Step } from '../base/step.ts';
import type { VmSpec } from '../spec/vm.ts';
import type { Audit } from './audit.ts';
import type { Bases } from './bases.ts';
import type { ImageDisks } from './images.ts';

/** A VM with everything leased: enough to name all it is made of. */
export interface Vm {
  readonly spec: VmSpec;
  readonly place: Placement;
}

/** What the host says about one VM. */
export interface Live {
  /** `running`: confined and past initialisation. `booting`: a process is there, not ready. */
  readonly phase: 'absent' | 'residue' | 'booting' | 'running';
  readonly pid?: number;
  readonly sinceMs?: number;
  readonly rssBytes?: number;
  /** False: nobody will learn the exit status. */
  readonly supervised: boolean;
}

/** One fact about a host's fitness, with the command that mends it. */
export interface Finding {
  readonly level: 'ok' | 'warning' | 'problem';
  readonly what: string;
  readonly got: string;
  readonly mend?: string;
}

/** Something that carries brig's mark, and how a person removes it. */
export interface Trace {
  readonly what: string;
  readonly remove: Command;
}

/** `run`: only what a run is made of; a pool is slow to ask, and a stop does not touch it. */
export type Depth = 'run' | 'all';

/** Where a VM's screen listens. The directory may be its uid's: what is there may be a link at any moment. */
export interface Screen {
  readonly path: string;
  readonly uid: number;
  /** How this kind of host gets to that very socket: by its open descriptor, or as that user. */
  readonly reach: 'descriptor' | 'owner';
}

/** How one kind of host runs a jailed VM. The engine knows nothing else of FreeBSD or Linux. */
export interface Platform<Seen = unknown> {
  readonly name: 'freebsd' | 'linux';
  readonly catalogue: Catalogue<Seen>;
  /** Makes the node ready: modules, sysctls, directories. Idempotent; once per brigd. */
  prepare(host: Host): Promise<readonly Finding[]>;
  /** The whole host in O(1) processes. */
  observe(host: Host, depth?: Depth): Promise<Seen>;
  /** What runs on the host, as an observation shows it. */
  processes(seen: Seen): readonly { readonly pid: number; readonly command: string }[];
  /** Somebody is going to ask about these steps: from now on an observation tells of them. */
  attend(steps: readonly Step[]): void;
  /** How deep an observation of the host must go to tell of this VM's data. */
  dataDepth(vm: Vm): Depth;
  /** Adds to an observation what only a closer look at one VM tells, so that every `holds` is exact. */
  look(host: Host, seen: Seen, vm: Vm, withSnapshots?: boolean): Promise<Seen>;
  /** What lives as long as the VM is defined: disks, firmware variables. In order. */
  createSteps(vm: Vm): readonly Step[];
  /**
   * What a run is made of, in order; a stop undoes it backwards.
   * `run` tells runs apart; `graceMs` is what an undo gives the guest to shut down, 0: killed at once.
   */
  startSteps(vm: Vm, run: string, graceMs: number): readonly Step[];
  /** What a network is made of on this host, in order; all of its users share it. */
  networkSteps(network: NetworkPlacement): readonly Step[];
  /** Addresses and routes that an interface of the host has. */
  readUplink(host: Host, name: string): Promise<Moved>;
  /** What puts a jail of somebody else's on a network, in order. */
  attachSteps(attached: Attached): readonly Step[];
  /** Why it cannot be put there, before anything is touched. */
  checkAttached(seen: Seen, attached: Attached): readonly Finding[];
  /** Whether a jail of this name is there, with a network stack of its own. */
  jailOf(seen: Seen, name: string): 'there' | 'gone' | 'no vnet';
  /** Why a network cannot be made, before anything is touched. */
  checkNetwork(seen: Seen, network: NetworkPlacement): readonly Finding[];
  /** What a snapshot of the VM, as it is in this document, is made of. Disks that are files take a stopped guest. */
  snapshotSteps(vm: Vm, snapshot: string): readonly Step[];
  /** Back to a snapshot of a VM of this document. They only go forward. */
  rollbackSteps(vm: Vm, snapshot: string): readonly Step[];
  /** Newer ones on the host that are not brig's own: ZFS does not go back past them. Asks for a closer look at snapshots. */
  strangersAfter(seen: Seen, vm: Vm, snapshot: string, own: readonly string[]): readonly string[];
  /** One disk as large as the document says now. They only go forward. */
  growSteps(vm: Vm, disk: number): readonly Step[];
  /** Disks that need their image no more. They only go forward. Errors: host.mismatch when others were made of it too. */
  promoteSteps(vm: Vm): readonly Step[];
  /** Opens a disk of a VM for reading, or of one of its snapshots: what the guest sees, and not how it is kept. */
  openVmDisk(host: Host, vm: Vm, disk: number, snapshot?: string): Promise<DiskPort>;
  live(seen: Seen, vm: Vm): Live;
  /** Where it listens while the VM runs; undefined: the VM has no screen. */
  screen(vm: Vm): Screen | undefined;
  /** Why this node gives less than brig promises; undefined: it gives all. Said with every VM. */
  reduced(): string | undefined;
  /** All that the `holds` of this VM's steps look at without a closer look: equal one by one, their answers are the same. */
  basis(seen: Seen, vm: Vm): readonly unknown[];
  /** VMs that the host has traces of, by brig's own marks. */
  owned(seen: Seen): ReadonlyMap<string, readonly Trace[]>;
  /** Why a start cannot work, before anything is touched. */
  precheck(host: Host, seen: Seen, vm: Vm): Promise<readonly Finding[]>;
  /** What every VM's root is made of. */
  readonly bases: Bases;
  /** Where this node keeps the disks of images. */
  readonly imageDisks: ImageDisks;
  /** This host's architecture in the words of a manifest. */
  readonly arch: (host: Host) => Promise<string>;
  /** UEFI firmware as this kind of host installs it. */
  readonly uefi: { readonly code: string; readonly vars: string };
  /** Measures the sandboxes of running VMs: O(1) processes for the host, O(1) more for each VM. In the order given. */
  audit(host: Host, vms: readonly Vm[]): Promise<readonly Audit[]>;
  doctor(host: Host): Promise<readonly Finding[]>;
}
