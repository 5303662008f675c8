/** `unmeasured`: brig could not find out, which is no better than broken. */
export type Verdict = 'holds' | 'broken' | 'unmeasured';

/** One property of a VM's sandbox, measured on the running VM. Shape is stable: ids are never reused. */
export interface Property {
  /** `room.what`, for example `identity.groups`. */
  readonly id: string;
  /** What it means, in a few words. */
  readonly what: string;
  readonly expected: string;
  readonly measured: string;
  readonly verdict: Verdict;
  /** The command, file or call that told. */
  readonly how: string;
}

/** One advisory on the monitor (bhyve or QEMU) that concerns a device of this VM. */
export interface Exposure {
  /** FreeBSD-SA id, for example `SA-24:17`. */
  readonly id: string;
  readonly what: string;
  /** The VM's device that exposes it. */
  readonly device: string;
  /** Release or patch level that fixed it; `unknown` where nobody said. */
  readonly fixedIn: string;
  /** Whether this host is known to be fixed. */
  readonly fixed: boolean | 'unknown';
  /** The walls that hold a guest which uses it; empty: none of ours does. */
  readonly containedBy: readonly string[];
  /** `broken`: not known to be fixed, and nothing contains it. */
  readonly verdict: Verdict;
}

/** What an audit found of one VM. It passes when every verdict is `holds`. */
export interface Audit {
  readonly vm: string;
  readonly passes: boolean;
  /** Why this host gives less than brig promises; absent: it gives all. */
  readonly downgraded?: string;
  /** The document accepts that nothing contains its devices. */
  readonly unconfined?: boolean;
  readonly properties: readonly Property[];
  readonly advisories: readonly Exposure[];
}

/** A property that must be exactly what is expected. Absent: it could not be measured. */
export const property = (
  id: string,
  what: string,
  expected: string,
  measured: string | undefined,
  how: string,
): Property => ({
  id,
  what,
  expected,
  measured: measured ?? 'could not be measured',
  verdict: measured === undefined ? 'unmeasured' : measured === expected ? 'holds' : 'broken',
  how,
});
