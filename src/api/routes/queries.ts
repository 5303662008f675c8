import { z } from 'zod';
import { LIMITS } from '../../base/limits.ts';

/** Values of a query come as text. */
const number = (what: string) =>
  z
    .string()
    .regex(/^\d{1,12}$/, { error: `expected ${what}` })
    .transform(Number);

/** What a guest may be given for its shutdown. */
export const milliseconds = number('milliseconds')
  .refine((ms) => ms <= LIMITS.graceMostMs, { error: `expected at most ${LIMITS.graceMostMs} milliseconds` })
  .describe('milliseconds')
  .optional();
export const whole = number('a whole number');
export const flag = z.enum(['0', '1'], { error: 'expected 0 or 1' }).transform((text) => text === '1');
export const text = z.string().max(512);

/** A listing in pieces, each after the last name of the one before. */
export const page = { limit: number('a whole number').optional(), after: text.optional() };

/** What a stop gives its guest. */
export const grace = z.strictObject({ graceMs: milliseconds });
export const force = z.strictObject({ force: flag.optional() });
