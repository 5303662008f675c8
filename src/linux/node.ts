import type { Paths } from '../base/placed.ts';
import type { Layout } from '../platform/layout.ts';
import type { Finding } from '../platform/platform.ts';
import type { Bind } from './programs/bwrap.ts';

/** Controllers that brig can use, as version 2 calls them. */
export const CONTROLLERS = ['memory', 'cpu', 'cpuset', 'pids', 'io'] as const;
export type ControllerName = (typeof CONTROLLERS)[number];

/** Where a cgroup controller is mounted; the two versions name their files differently. */
export interface Controller {
  readonly version: 1 | 2;
  readonly root: string;
  /** NUMA nodes of the root; only of cpuset. */
  readonly memoryNodes?: string;
}

/** What this node can do, found by probing. */
export interface Features extends Readonly<Partial<Record<ControllerName, Controller>>> {
  readonly accel: 'tcg' | 'kvm';
  /** Why KVM cannot be used; undefined where it can, or where nobody wants it. */
  readonly kvmTrouble?: string;
  /** Group of /dev/kvm, which QEMU gets beside its own. */
  readonly kvmGroup?: number;
  readonly cpus: number;
  readonly memoryBytes: number;
  /** Whether brigd may let a VM lock all of its memory. */
  readonly locksMemory: boolean;
  /** Whether QEMU takes a screen's password from a file. */
  readonly readsPasswords: boolean;
  /** Models that this QEMU has. */
  readonly models: ReadonlySet<string>;
}

/** Which block device a path is on. */
export interface Devices {
  /** MAJOR:MINOR of the whole disk; undefined where the file system has none. */
  find(path: string): string | undefined;
}

/** A Linux node as brig is configured on it. */
export interface Node {
  readonly paths: Paths;
  readonly layout: Layout;
  readonly features: Features;
  /** Kinds of step, of those that only some networks need, that this brigd has planned: others need no look. */
  readonly asks: ReadonlySet<string>;
  /** Chains as they were first seen under their stamp. */
  readonly trusted: Map<string, { readonly stamp: string; readonly text: string }>;
  /** What prepare found; problems among it block every start. */
  readonly findings: readonly Finding[];
  /** brig's own test guest, as a file. */
  readonly testRom: string;
  /** The part of every sandbox that is the same, for a start: QEMU and its libraries, as arguments of bwrap(1). */
  readonly sandbox: string;
  /** What no sandbox may ask of the kernel, as a program of seccomp(2). */
  readonly filter: string;
  /** What is in it. */
  readonly common: readonly Bind[];
  /** Sandbox of swtpm(8); absent where it is not installed. */
  readonly tpm?: readonly Bind[];
  /** Devices that are refused elsewhere. */
  readonly allowDevices: readonly string[];
  readonly devices: Devices;
}

/** Network namespace, cgroup and QEMU's name of a VM. */
export const spaceOf = (vm: string): string => `brig-${vm}`;
/** The other way round; undefined for strangers. */
export const vmOfSpace = (space: string): string | undefined => /^brig-([a-z0-9][a-z0-9-]*)$/.exec(space)?.[1];

/** Every interface of a VM on the host carries this alias. */
export const markOf = (vm: string): string => `brig:vm/${vm}`;
/** Of a network namespace of somebody else's. */
export const jailMark = (jail: string): string => `brig:jail/${jail}`;
export const networkMark = (network: string): string => `brig:net/${network}`;

/**
 * Interface names of one NIC, from its leased unit; at most 15 characters. Source: IFNAMSIZ of if.h.
 * Shape: host's bridge - brigv7000 = brigp7000 - brigb7000 - tap7000 - QEMU; from brigp7000 on in the VM's namespace.
 */
export const nicNames = (unit: number) => ({
  host: `brigv${unit}`,
  peer: `brigp${unit}`,
  bridge: `brigb${unit}`,
  tap: `tap${unit}`,
});

/** Whether a name may be one that nicNames gave. */
export const isNicName = (name: string): boolean => /^(brigv|brigp|brigb|tap)\d+$/.test(name);

/** QEMU's own memory beside the guest's: code, device models, and translated code under TCG. */
export const OVERHEAD_BYTES = 384 * 2 ** 20;
