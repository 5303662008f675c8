import type { AuditReport } from '../acl/audit-log.ts';
import type { AuditEntry } from '../acl/chain.ts';
import type { ErrorBody } from '../base/errors.ts';
import type { Answer, Asked, GrantView } from '../engine/access.ts';
import type { ShutdownEnd } from '../engine/boot.ts';
import type { PlanLine } from '../engine/changes.ts';
import type { Explanation } from '../engine/explain.ts';
import type { AccessKeyView } from '../engine/keys.ts';
import type { QuotaView } from '../engine/quota.ts';
import type { Outcome } from '../engine/request.ts';
import type { LockView, SecretView } from '../engine/secrets.ts';
import type { VmView } from '../engine/view.ts';
import type { Audit } from '../platform/audit.ts';
import type { BaseReport, BaseView } from '../platform/bases.ts';
import type { GcLine, ImageReport, ImageView, KeyView } from '../platform/images.ts';
import type { JailView, LeaseView, NetworkDetail, NetworkView } from '../platform/networks.ts';
import type { Finding } from '../platform/platform.ts';
import type { SnapshotView } from '../platform/snapshots.ts';
import type { AttachmentSpec } from '../spec/attachment.ts';
import type { ImageManifest, SignedImage } from '../spec/image.ts';
import type { KeyDocument } from '../spec/key.ts';
import type { SignedManifest } from '../spec/manifest.ts';
import type { NetworkSpec } from '../spec/network.ts';
import type { TemplateView } from '../spec/template.ts';
import type { VmDocument } from '../spec/vm.ts';
import type { EventRow, FindingRow } from '../store/rows.ts';
import type { Line, WhoAmI } from './protocol.ts';

/** What the API answers, by the names that routes and the OpenAPI document have for it. */
export interface Answers {
  AccessAnswer: Answer;
  AccessKeyView: AccessKeyView;
  Audit: Audit;
  AuditEntry: AuditEntry;
  AuditReport: AuditReport;
  BaseReport: BaseReport;
  BaseView: BaseView;
  Cancelled: { readonly cancelled: boolean };
  ConsoleSocket: { readonly path: string };
  Error: ErrorBody;
  EventRow: EventRow;
  Explanation: Explanation;
  Finding: Finding;
  FindingRow: FindingRow;
  GcLine: GcLine;
  Grant: GrantView;
  ImageReport: ImageReport;
  ImageView: ImageView;
  JailView: JailView;
  KeyView: KeyView;
  LeaseView: LeaseView;
  Line: Line;
  LockView: LockView;
  NetworkDetail: NetworkDetail;
  NetworkView: NetworkView;
  Outcome: Outcome;
  PlanLine: PlanLine;
  QuotaView: QuotaView;
  Removed: { readonly removed: string };
  Rotated: { readonly secrets: number; readonly master: string };
  SecretBytes: { readonly base64: string };
  SecretView: SecretView;
  ShutdownEnd: ShutdownEnd;
  SignedImage: SignedImage;
  SignedManifest: SignedManifest;
  SnapshotView: SnapshotView;
  TemplateView: TemplateView;
  VmView: VmView;
  WhoAmI: WhoAmI;
}

/** What requests bring, after defaults were filled in. */
export interface Bodies {
  AskedGrant: Asked;
  /** Of a jail that the path names. */
  Attachment: Omit<AttachmentSpec, 'jail'>;
  /** What is not said is the VM's. */
  ImageAbout: Pick<ImageManifest, 'name' | 'version'> &
    Partial<Pick<ImageManifest, 'arch' | 'os' | 'firmware' | 'cloudInit' | 'spec'>>;
  /** The text of a public key's file, for who signs images. */
  KeyLine: string;
  /** A key that signs requests. */
  KeyRequest: KeyDocument;
  NetworkDocument: NetworkSpec;
  Passphrase: { readonly passphrase?: string };
  /** One of both. */
  SecretValue: { readonly value?: string; readonly base64?: string };
  VmDocument: VmDocument;
}

export type AnswerName = keyof Answers;
export type BodyName = keyof Bodies;

type Flat<T> = { [K in keyof T]: T[K] };

/** In the place of a key that need not be there. */
interface Absent {
  readonly absent: true;
}

/**
 * A type as JSON brings it, to be compared: nothing is read-only, what may be undefined is absent, and what may be
 * absent is a key all the same, so that a type without it is another.
 */
export type Exact<T> = unknown extends T
  ? unknown
  : T extends readonly (infer E)[]
    ? Exact<E>[]
    : T extends object
      ? Flat<
          { -readonly [K in keyof T as undefined extends T[K] ? never : K]: Exact<T[K]> } & {
            -readonly [K in keyof T as undefined extends T[K] ? K : never]-?: Exact<Exclude<T[K], undefined>> | Absent;
          }
        >
      : T;

export type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;
