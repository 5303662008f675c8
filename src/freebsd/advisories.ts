import type { DeviceName } from './devices.ts';

/** A wall of brig's: what an exploited device model meets next. */
export type Wall = 'jail' | 'uid' | 'capsicum';

export interface Advisory {
  readonly id: string;
  readonly what: string;
  /** Devices that expose it; `any`: every VM does. */
  readonly devices: readonly DeviceName[] | 'any';
  /** First release that has the fix; `unknown` where nobody said. */
  readonly fixedIn: string;
  readonly containedBy: readonly Wall[];
}

const ALL: readonly Wall[] = ['jail', 'uid', 'capsicum'];
const VIRTIO: readonly DeviceName[] = [
  'virtio-blk',
  'virtio-net',
  'virtio-rnd',
  'virtio-console',
  'virtio-9p',
  'virtio-scsi',
];

/**
 * Advisories on bhyve. Ids and facts only; `fixedIn` is the first release after the fix.
 * Source: FreeBSD security advisories to SA-26:72.
 */
export const ADVISORIES: readonly Advisory[] = [
  { id: 'SA-16:32', what: 'VGA model', devices: ['fbuf'], fixedIn: '14.0', containedBy: ALL },
  { id: 'SA-16:38', what: 'integer overflow in map_gpa', devices: 'any', fixedIn: '14.0', containedBy: ALL },
  { id: 'SA-18:14', what: 'fwctl request size', devices: ['lpc'], fixedIn: '14.0', containedBy: ALL },
  { id: 'SA-19:16', what: 'xHCI out-of-bounds read', devices: ['xhci'], fixedIn: '14.0', containedBy: ALL },
  { id: 'SA-19:21', what: 'e1000 out-of-bounds write', devices: ['e1000'], fixedIn: '14.0', containedBy: ALL },
  // Root of a jail could do it too: only a uid without privilege is a wall.
  {
    id: 'SA-20:28',
    what: 'VMCS writable by root, also of a jail',
    devices: 'any',
    fixedIn: '14.0',
    containedBy: ['uid'],
  },
  { id: 'SA-20:29', what: 'guest escape on AMD, in the kernel', devices: 'any', fixedIn: '14.0', containedBy: [] },
  { id: 'SA-21:13', what: 'virtio on uninitialised iovecs', devices: VIRTIO, fixedIn: '14.0', containedBy: ALL },
  { id: 'SA-22:05', what: 'e1000 out-of-bounds write', devices: ['e1000'], fixedIn: '14.0', containedBy: ALL },
  { id: 'SA-22:12', what: 'lib9p', devices: ['virtio-9p'], fixedIn: '14.0', containedBy: ALL },
  { id: 'SA-23:07', what: 'fwctl heap overflow', devices: ['lpc'], fixedIn: '14.0', containedBy: ALL },
  {
    id: 'SA-24:11',
    what: 'guest SCSI commands in ctl(4), in the kernel',
    devices: ['virtio-scsi'],
    fixedIn: '14.2',
    containedBy: [],
  },
  { id: 'SA-24:12', what: 'xHCI heap write', devices: ['xhci'], fixedIn: '14.2', containedBy: ALL },
  { id: 'SA-24:15', what: 'xHCI out-of-bounds read', devices: ['xhci'], fixedIn: '14.2', containedBy: ALL },
  {
    id: 'SA-24:17',
    what: 'NVMe, virtio and HDA: over-reads, loops, races',
    devices: ['nvme', 'hda', ...VIRTIO],
    fixedIn: '14.2',
    containedBy: ALL,
  },
  {
    id: 'SA-24:18',
    what: 'guest SCSI commands in ctl(4), in the kernel',
    devices: ['virtio-scsi'],
    fixedIn: '14.2',
    containedBy: [],
  },
  {
    id: 'SA-26:72',
    what: 'HDA, xHCI, frame buffer and other models',
    devices: ['hda', 'xhci', 'fbuf'],
    fixedIn: 'unknown',
    containedBy: ALL,
  },
];

/** Advisories on the walls themselves: what a host must have. A branch that is not named was never said to be fixed. */
export interface WallAdvisory {
  readonly id: string;
  readonly what: string;
  /** Releases with the fix. Shape: `15.1-p4`. */
  readonly fixedIn: readonly string[];
}

export const WALL_ADVISORIES: readonly WallAdvisory[] = [
  {
    id: 'SA-26:66',
    what: 'jails that share a writable directory or socket',
    fixedIn: ['15.1-p4', '14.5-p1', '14.4-p10'],
  },
  { id: 'SA-26:38', what: 'jail descriptors', fixedIn: ['15.1-p1', '15.0-p11'] },
];
