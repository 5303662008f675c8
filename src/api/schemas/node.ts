import { z } from 'zod';
import { VERBS } from '../../acl/roles.ts';
import { ERROR_CODES } from '../../base/errors.ts';
import { eventRow, ms, texts, whole } from './vms.ts';

const digest = z.string();

export const baseView = z.strictObject({
  digest,
  current: z.boolean(),
  builtMs: ms.optional(),
  files: whole.optional(),
  bytes: whole.optional(),
  arch: z.string().optional(),
  release: z.string().optional(),
  key: z.string().optional(),
  usedBy: texts,
  verified: z.boolean(),
  problem: z.string().optional(),
});

export const baseReport = z.strictObject({ digest, ok: z.boolean(), files: whole, problems: texts });

export const imageView = z.strictObject({
  digest,
  name: z.string().optional(),
  version: z.string().optional(),
  arch: z.string().optional(),
  os: z.string().optional(),
  firmware: z.string().optional(),
  cloudInit: z.boolean().optional(),
  disks: z.array(whole).optional(),
  verified: z.enum(['signature', 'sha256', 'built', 'none']).optional(),
  source: z.string().optional(),
  key: z.string().optional(),
  usable: z.boolean(),
  problem: z.string().optional(),
  importedMs: ms.optional(),
  users: whole,
});

export const imageReport = z.strictObject({ digest, ok: z.boolean(), bytes: whole, problems: texts });

export const gcLine = z.strictObject({
  digest,
  name: z.string(),
  bytes: whole,
  keep: z.boolean(),
  why: z.string(),
});

export const keyView = z.strictObject({ id: z.string(), name: z.string(), rights: texts });

export const finding = z.strictObject({
  level: z.enum(['ok', 'warning', 'problem']),
  what: z.string(),
  got: z.string(),
  mend: z.string().optional(),
});

export const shutdownEnd = z.strictObject({
  stopped: texts,
  failed: z.array(z.strictObject({ vm: z.string(), reason: z.string() })),
});

export const error = z.strictObject({
  code: z.enum(ERROR_CODES),
  message: z.string().describe('attempt object: reason'),
  hint: z.string().optional().describe('what to do about it'),
  details: z.record(z.string(), z.unknown()).optional(),
});

/** Of an operation: it begins, things happen, it ends in one way or the other. */
export const line = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('begin'), id: z.string() }),
  z.strictObject({ type: z.literal('event'), event: eventRow }),
  z.strictObject({ type: z.literal('result'), result: z.unknown().optional() }),
  z.strictObject({ type: z.literal('error'), error }),
]);

export const whoAmI = z.strictObject({
  id: z.string(),
  isRoot: z.boolean(),
  subjects: texts,
  owner: z.string().optional(),
  from: z.string(),
});

export const asked = z.strictObject({ principal: z.string(), role: z.string(), object: z.string() });

export const grant = asked.extend({ by: z.string(), createdMs: ms });

export const accessAnswer = z.strictObject({ allow: z.boolean(), rule: z.string(), verbs: z.array(z.enum(VERBS)) });

export const accessKey = z.strictObject({
  name: z.string(),
  id: z.string().describe('fingerprint'),
  public: z.string(),
  owner: z.string().optional(),
  by: z.string(),
  state: z.enum(['valid', 'expired', 'revoked']),
  createdMs: ms,
  expiresMs: ms.optional(),
  revokedMs: ms.optional(),
});

export const secretView = z.strictObject({
  owner: z.string().describe("empty: the node's own"),
  name: z.string(),
  createdMs: ms,
  usedBy: texts,
});

export const lockView = z.strictObject({ locked: z.boolean(), asks: z.boolean(), isNew: z.boolean() });

const anchor = z.strictObject({ seq: whole, hash: z.string() });

export const auditEntry = z.strictObject({
  who: z.string(),
  from: z.string(),
  verb: z.string(),
  object: z.string(),
  phase: z.enum(['begin', 'end', 'told']),
  decision: z.enum(['allow', 'deny']),
  rule: z.string(),
  result: z.string().optional(),
  saga: z.string().optional(),
  of: whole.optional(),
  data: z.record(z.string(), z.union([z.number(), z.string()])).optional(),
  seq: whole,
  atMs: ms,
  prev: z.string(),
  hash: z.string(),
});

export const auditReport = z.discriminatedUnion('ok', [
  z.strictObject({
    ok: z.literal(true),
    files: whole,
    entries: whole,
    first: whole,
    torn: whole,
    head: anchor,
  }),
  z.strictObject({ ok: z.literal(false), file: z.string(), seq: whole, why: z.string() }),
]);
