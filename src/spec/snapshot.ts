import { z } from 'zod';
import { parseWith } from './document.ts';

/** Safe in a path and in the name of a ZFS snapshot. */
const name = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, { error: 'expected a name of [a-z0-9._-], at most 63 characters' });

const request = z.strictObject({ name: name.optional() });

/** What somebody asks for. Errors: spec.invalid. */
export const parseSnapshotRequest = (value: unknown): z.output<typeof request> =>
  parseWith(request, value, 'snapshot', 'spec.invalid');

/** Whoever makes one on a schedule. */
export const PERIODS = ['hourly', 'daily', 'weekly'] as const;
export type Period = (typeof PERIODS)[number];

const kept = z.int({ error: 'expected how many to keep, from 1 to 1000' }).min(1).max(1000).optional();
/** How many of each are kept; absent: none is made. */
export const schedule = z.strictObject({ hourly: kept, daily: kept, weekly: kept });

/** Whoever asked for it: a person, or the schedule. */
export type SnapshotKind = 'manual' | Period;
/** stopped: the guest was down; crash: all disks at the same moment, as a guest finds them after a power cut. */
export type Consistency = 'stopped' | 'crash';
