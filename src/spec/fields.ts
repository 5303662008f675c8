import { z } from 'zod';

/** Fields that documents of several kinds have. */
export const expected = (what: string) => ({ error: `expected ${what}` });

/** VM names are safe in paths, jail names, dataset names, interface descriptions and devfs patterns. */
export const NAME = /^[a-z0-9][a-z0-9-]{0,30}$/;

export const name = z
  .string(expected('a name'))
  .regex(NAME, expected('a name of [a-z0-9-], at most 31 characters, not starting with -'));

/** A user of the host, as most systems name them; documents of before may have one that begins with a digit. */
export const OWNER = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}$/;

export const owner = z
  .string(expected('the name of a user'))
  .regex(OWNER, expected('the name of a user: [A-Za-z0-9_.-], at most 32 characters, not starting with . or -'));

export const count = (least: number, most: number) =>
  z
    .int(expected(`a whole number from ${least} to ${most}`))
    .min(least)
    .max(most);

export const labels = z
  .record(
    z.string().regex(/^[a-z0-9][a-z0-9._/-]{0,62}$/, expected('a label key of [a-z0-9._/-]')),
    z.string().max(100),
  )
  .default({});

export const mac = z
  .string()
  .toLowerCase()
  .regex(/^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/, expected('a unicast MAC address like 58:9c:fc:01:02:03'))
  .refine((text) => text !== '00:00:00:00:00:00', expected('a MAC address that is not zero'));
