import { z } from 'zod';
import { parseWith } from './document.ts';
import { expected, labels, mac, owner } from './fields.ts';

export const attachment = z.strictObject({
  /** A vnet jail that somebody else made, by its name; on Linux a network namespace. */
  jail: z
    .string(expected('the name of a jail'))
    .max(64)
    .regex(/^[A-Za-z_][A-Za-z0-9_.-]*$/, expected('the name of a jail'))
    .refine((text) => !text.startsWith('brig-'), expected('a jail that is not of brig')),
  /** None: the next that are free. */
  addresses: z
    .array(z.union([z.cidrv4(), z.cidrv6()], expected('an address with its prefix length, such as 10.77.0.9/24')))
    .max(16)
    .default([]),
  mac: mac.optional(),
  owner: owner.optional(),
  labels,
  /** The network's router is the jail's default route. */
  gateway: z.boolean().default(false),
});

/** A jail on a network, as it is asked for. */
export type AttachmentSpec = z.infer<typeof attachment>;

/** Errors: spec.invalid with every problem, one a line. */
export const parseAttachment = (value: unknown): AttachmentSpec =>
  parseWith(attachment, value, 'attachment', 'spec.invalid');
