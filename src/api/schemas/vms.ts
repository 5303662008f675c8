import { z } from 'zod';

const whole = z.int().min(0);
const ms = whole.describe('milliseconds since the epoch');
export const texts = z.array(z.string());
export const labels = z.record(z.string(), z.string());

/** A time, and a count. */
export { ms, whole };

const amounts = z.strictObject({
  ...{ vms: whole, cpus: whole, memory: whole, disk: whole, addresses: whole, snapshots: whole },
});

export const quotaView = z.strictObject({ owner: z.string(), used: amounts, most: amounts.partial() });

const op = z.enum(['apply', 'undo', 'repair']);
const left = z.array(
  z.strictObject({ op: op.optional(), step: z.string(), because: z.string().optional(), commands: texts }),
);

export const vmView = z.strictObject({
  name: z.string(),
  state: z.enum(['defined', 'starting', 'running', 'stopping', 'failed', 'stuck']),
  queued: z
    .enum([
      ...(['attach', 'detach', 'create', 'edit', 'start', 'stop', 'kill', 'restart', 'destroy', 'clean'] as const),
      ...(['repair', 'snapshot', 'prune', 'rollback', 'resize', 'promote', 'read'] as const),
    ])
    .optional(),
  downgraded: z.string().optional(),
  unconfined: z.literal(true).optional(),
  reason: z.string().optional(),
  pid: whole.optional(),
  sinceMs: ms.optional(),
  rssBytes: whole.optional(),
  supervised: z.boolean().optional(),
  cpus: whole,
  memoryBytes: whole,
  uid: whole,
  nics: z.array(
    z.strictObject({
      network: z.string(),
      mode: z.string(),
      mac: z.string(),
      unit: whole,
      addresses: texts,
      delegated: texts.optional(),
    }),
  ),
  owner: z.string().optional(),
  autostart: z.boolean(),
  labels,
  image: z
    .strictObject({ name: z.string(), version: z.string(), digest: z.string(), os: z.string().optional() })
    .optional(),
  quota: quotaView.optional(),
  lastEnd: z.strictObject({ exit: z.string(), cause: z.string(), atMs: ms, run: z.string().optional() }).optional(),
  left: left.optional(),
  createdMs: ms,
});

export const outcome = z.strictObject({ changed: z.boolean(), downgraded: z.string().optional() });

export const planLine = z.strictObject({
  op,
  step: z.string(),
  because: z.string(),
  commands: texts,
});

export const eventRow = z.strictObject({
  seq: whole.describe('a cursor: events after it come later'),
  atMs: ms,
  vm: z.string().optional(),
  kind: z.string(),
  cause: z.string(),
  data: z.record(z.string(), z.unknown()),
});

const difference = {
  key: z.string(),
  step: z.string(),
  because: z.string(),
  reason: z.string().optional(),
  commands: texts,
};

export const findingRow = z.strictObject({
  ...difference,
  vm: z.string(),
  state: z.enum(['open', 'refused']),
  sinceMs: ms,
});

export const explanation = z.strictObject({
  vm: vmView,
  intent: z.string(),
  differences: texts,
  findings: z.array(
    z.strictObject({
      ...difference,
      state: z.enum(['open', 'refused', 'repaired']),
      vm: z.string().optional(),
      sinceMs: ms.optional(),
    }),
  ),
  events: z.array(eventRow),
});

const verdict = z.enum(['holds', 'broken', 'unmeasured']);

export const audit = z.strictObject({
  vm: z.string(),
  passes: z.boolean(),
  downgraded: z.string().optional(),
  unconfined: z.boolean().optional(),
  properties: z.array(
    z.strictObject({
      id: z.string(),
      what: z.string(),
      expected: z.string(),
      measured: z.string(),
      verdict,
      how: z.string(),
    }),
  ),
  advisories: z.array(
    z.strictObject({
      id: z.string(),
      what: z.string(),
      device: z.string(),
      fixedIn: z.string(),
      fixed: z.union([z.boolean(), z.literal('unknown')]),
      containedBy: texts,
      verdict,
    }),
  ),
});

export const snapshotView = z.strictObject({
  vm: z.string(),
  name: z.string(),
  createdMs: ms,
  kind: z.enum(['manual', 'hourly', 'daily', 'weekly']),
  consistency: z.enum(['stopped', 'crash']),
  disks: z.array(whole),
  isWhole: z.boolean(),
});

export const templateView = z.object({
  name: z.string(),
  summary: z.string(),
  parameters: z.record(z.string(), z.string()).readonly().describe('what each may be, in words'),
});
