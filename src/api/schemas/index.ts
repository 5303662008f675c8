import { z } from 'zod';
import { attachment } from '../../spec/attachment.ts';
import { imageAbout, signedImage } from '../../spec/image.ts';
import { keyDocument } from '../../spec/key.ts';
import { signedManifest } from '../../spec/manifest.ts';
import { networkDocument } from '../../spec/network.ts';
import { vmDocument } from '../../spec/vm.ts';
import type { Answers, Bodies, Exact, Same } from '../shapes.ts';
import * as networks from './networks.ts';
import * as node from './node.ts';
import * as vms from './vms.ts';

type SchemasOf<Types> = { readonly [N in keyof Types]: z.ZodType };

/** Nothing more of a schema that says what its type says; of another, what no schema has. */
type Held<Types, Schemas extends SchemasOf<Types>> = {
  readonly [N in keyof Types]: Same<Exact<Types[N]>, Exact<z.output<Schemas[N]>>> extends true
    ? unknown
    : { readonly drifted: N };
};

/** Compiles when every schema says what its type says, key by key; tsc points at those that do not. */
const held =
  <Types>() =>
  <Schemas extends SchemasOf<Types>>(schemas: Schemas & Held<Types, Schemas>): Schemas =>
    schemas;

/** Unknown keys are errors, as nobody must rely on what is not written down. */
export const ANSWERS = held<Answers>()({
  AccessAnswer: node.accessAnswer,
  AccessKeyView: node.accessKey,
  Audit: vms.audit,
  AuditEntry: node.auditEntry,
  AuditReport: node.auditReport,
  BaseReport: node.baseReport,
  BaseView: node.baseView,
  Cancelled: z.strictObject({ cancelled: z.boolean() }),
  ConsoleSocket: z.strictObject({ path: z.string() }),
  Error: node.error,
  EventRow: vms.eventRow,
  Explanation: vms.explanation,
  Finding: node.finding,
  FindingRow: vms.findingRow,
  GcLine: node.gcLine,
  Grant: node.grant,
  ImageReport: node.imageReport,
  ImageView: node.imageView,
  JailView: networks.jailView,
  KeyView: node.keyView,
  LeaseView: networks.leaseView,
  Line: node.line,
  LockView: node.lockView,
  NetworkDetail: networks.networkDetail,
  NetworkView: networks.networkView,
  Outcome: vms.outcome,
  PlanLine: vms.planLine,
  QuotaView: vms.quotaView,
  Removed: z.strictObject({ removed: z.string() }),
  Rotated: z.strictObject({ secrets: z.int().min(0), master: z.string() }),
  SecretBytes: z.strictObject({ base64: z.base64() }),
  SecretView: node.secretView,
  ShutdownEnd: node.shutdownEnd,
  SignedImage: signedImage,
  SignedManifest: signedManifest,
  TemplateView: vms.templateView,
  SnapshotView: vms.snapshotView,
  VmView: vms.vmView,
  WhoAmI: node.whoAmI,
});

export const BODIES = held<Bodies>()({
  AskedGrant: node.asked,
  Attachment: attachment.omit({ jail: true }),
  ImageAbout: z.strictObject({
    ...imageAbout,
    arch: imageAbout.arch.unwrap().optional(),
    firmware: imageAbout.firmware.unwrap().optional(),
    cloudInit: imageAbout.cloudInit.unwrap().optional(),
    spec: imageAbout.spec.unwrap().optional(),
  }),
  KeyLine: z.string(),
  KeyRequest: keyDocument,
  NetworkDocument: networkDocument,
  Passphrase: z.strictObject({ passphrase: z.string().optional() }),
  SecretValue: z.strictObject({ value: z.string().optional(), base64: z.string().optional() }),
  VmDocument: vmDocument,
});
