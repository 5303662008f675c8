import { z } from 'zod';
import { networkDocument } from '../../spec/network.ts';
import { labels, ms, texts, whole } from './vms.ts';

export const jailView = z.strictObject({
  jail: z.string(),
  state: z.enum(['attached', 'waiting']),
  labels,
  unit: whole,
  mac: z.string(),
  addresses: texts,
  reason: z.string().optional(),
});

const subnetView = z.strictObject({
  cidr: z.string(),
  gateway: z.string().optional(),
  size: z.string().describe('decimal digits'),
  free: z.string().describe('decimal digits'),
});

export const networkView = z.strictObject({
  name: z.string(),
  kind: z.enum(['bridge', 'vlan', 'vxlan', 'routed', 'nat', 'external']),
  group: z.string(),
  labels,
  state: z.enum(['up', 'partly', 'down']),
  interface: z.string().optional(),
  mtu: whole.optional(),
  persistent: z.boolean(),
  isolation: z.enum(['vm', 'owner', 'none']),
  subnets: z.array(subnetView),
  vms: texts,
  jails: z.array(jailView),
  faults: z.array(z.strictObject({ step: z.string(), because: z.string(), reason: z.string() })),
  builtin: z.boolean(),
});

export const networkDetail = networkView.extend({ spec: networkDocument.optional() });

export const leaseView = z.strictObject({
  network: z.string(),
  address: z.string(),
  holder: z.string(),
  nic: whole,
  mac: z.string().optional(),
  kind: z.enum(['dynamic', 'static', 'reserved', 'delegated']),
  sinceMs: ms,
});
