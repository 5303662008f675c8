import { z } from 'zod';
import { count, expected, name, owner } from './fields.ts';

const port = count(1, 65_535);

/** `80` or `8000-8099`; comes out as first and last. */
const ports = z
  .union([z.int(), z.string()], expected('a port such as 80, or 8000-8099'))
  .transform((value, context) => {
    const [, a, b] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(String(value)) ?? [];
    const [first, last] = [Number(a), Number(b ?? a)];
    if (a !== undefined && first >= 1 && first <= last && last <= 65_535) return [first, last] as [number, number];
    context.addIssue({ code: 'custom', message: 'expected a port such as 80, or 8000-8099' });
    return z.NEVER;
  });

const fromExpected = expected('any, an address, a subnet, or {vm: NAME}');
const address = z.union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()], fromExpected);

const allow = z
  .strictObject({
    from: z
      // `owner`: that owner's alone, whenever it comes.
      .union([z.literal('any'), address, z.strictObject({ vm: name, owner: owner.optional() })], fromExpected)
      .default('any'),
    proto: z.enum(['tcp', 'udp', 'icmp', 'any']).default('tcp'),
    ports: z.union([z.array(ports).max(32), ports.transform((one) => [one])]).optional(),
  })
  .refine((rule) => rule.ports === undefined || rule.proto === 'tcp' || rule.proto === 'udp', {
    path: ['ports'],
    ...expected('no ports, which only tcp and udp have'),
  });

const forward = z.strictObject({ proto: z.enum(['tcp', 'udp']).default('tcp'), port, to: port });

/** What may pass a NIC, on a network that guards it. */
export const filtering = {
  /** Who may send to it; absent: everybody but other guests. */
  allow: z.array(allow).max(256).optional(),
  /** Ports of the host that lead to it, on a network of kind nat. */
  forwards: z.array(forward).max(64).default([]),
  /** What it may send from beside its own addresses. */
  sources: z
    .array(z.union([z.cidrv4(), z.cidrv6()], expected('a subnet such as 10.8.0.0/24')))
    .max(32)
    .default([]),
};
