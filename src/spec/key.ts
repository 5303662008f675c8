import { z } from 'zod';
import { parseWith } from './document.ts';
import { expected } from './fields.ts';

/** A user of the node, as getpwnam(3) names him. */
const owner = z
  .string(expected('the name of a user'))
  .regex(/^[A-Za-z_][A-Za-z0-9_.-]{0,31}$/, expected('the name of a user'))
  .refine((name) => name !== 'root', expected('a user other than root: no key has all rights'));

/** What `PUT /access/keys/NAME` takes. */
export const keyDocument = z.strictObject({
  /** Shape: `ed25519 BASE64` */
  public: z
    .string(expected('a public key'))
    .regex(/^ed25519 [A-Za-z0-9+/]{43}=$/, expected('`ed25519 BASE64` of 32 bytes')),
  /** The user whose rights it has beside its own. */
  owner: owner.optional(),
  /** From then on it counts no more. Units: milliseconds since the epoch. */
  expiresMs: z
    .int(expected('a time in milliseconds since the epoch'))
    .min(1)
    .max(2 ** 48)
    .optional(),
});

export type KeyDocument = z.output<typeof keyDocument>;

/** Errors: acl.invalid with every problem at once. */
export const parseKeyDocument = (value: unknown, source: string): KeyDocument =>
  parseWith(keyDocument, value, source, 'acl.invalid');
