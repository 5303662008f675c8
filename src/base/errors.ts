/** What a caller may do about an error: nothing, the same call later, or ask a person first. */
export type Retry = 'never' | 'later' | 'operator';

/** Every error code of brig, `room.reason`. Callers switch on these; the text is for people. */
export type ErrorCode =
  | 'spec.invalid'
  | 'net.invalid'
  | 'net.exhausted'
  | 'net.taken'
  | 'network.unknown'
  | 'network.exists'
  | 'network.blocked'
  | 'config.invalid'
  | 'usage.invalid'
  | 'vm.unknown'
  | 'vm.exists'
  | 'vm.blocked'
  | 'acl.invalid'
  | 'acl.denied'
  | 'image.invalid'
  | 'image.unknown'
  | 'image.inUse'
  | 'image.exists'
  | 'host.failed'
  | 'host.timeout'
  | 'host.missing'
  | 'host.denied'
  | 'host.mismatch'
  | 'model.argv'
  | 'saga.failed'
  | 'saga.stuck'
  | 'saga.cancelled'
  | 'store.failed'
  | 'store.busy'
  | 'daemon.unreachable'
  | 'api.invalid'
  | 'api.unknown'
  | 'api.busy'
  | 'api.changed'
  | 'key.unknown'
  | 'key.exists'
  | 'secret.unknown'
  | 'secret.locked'
  | 'console.taken';

/** sysexits(3) status for each code. Source: sysexits(3). */
const EXIT: Record<ErrorCode, number> = {
  'spec.invalid': 65,
  'net.invalid': 65,
  'net.exhausted': 75,
  'net.taken': 75,
  'network.unknown': 69,
  'network.exists': 73,
  'network.blocked': 75,
  'config.invalid': 78,
  'usage.invalid': 64,
  'vm.unknown': 69,
  'vm.exists': 73,
  'vm.blocked': 75,
  'acl.invalid': 65,
  'acl.denied': 77,
  'image.invalid': 65,
  'image.unknown': 69,
  'image.inUse': 75,
  'image.exists': 73,
  'host.failed': 71,
  'host.timeout': 75,
  'host.missing': 69,
  'host.denied': 77,
  'host.mismatch': 71,
  'model.argv': 70,
  'saga.failed': 71,
  'saga.stuck': 71,
  'saga.cancelled': 130,
  'store.failed': 74,
  'store.busy': 75,
  'daemon.unreachable': 69,
  'api.invalid': 76,
  'api.unknown': 76,
  'api.busy': 75,
  'api.changed': 75,
  'key.unknown': 69,
  'key.exists': 73,
  'secret.unknown': 69,
  'secret.locked': 75,
  'console.taken': 75,
};

/** All of them. */
export const ERROR_CODES = Object.keys(EXIT) as [ErrorCode, ...ErrorCode[]];

export interface ErrorExtras {
  retry?: Retry;
  details?: Record<string, unknown>;
  hint?: string;
  cause?: unknown;
}

/** The one error class: `code` for callers, `message` as "attempt object: reason", `hint` for what to do. */
export class BrigError extends Error {
  readonly code: ErrorCode;
  readonly retry: Retry;
  readonly details: Record<string, unknown>;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, extras: ErrorExtras = {}) {
    super(message, extras.cause === undefined ? undefined : { cause: extras.cause });
    this.name = 'BrigError';
    this.code = code;
    this.retry = extras.retry ?? 'never';
    this.details = extras.details ?? {};
    this.hint = extras.hint;
  }
}

/** Shape of an error on the wire and in `--json`. */
export interface ErrorBody {
  code: ErrorCode;
  message: string;
  hint?: string;
  details?: Record<string, unknown>;
}

export const toErrorBody = (error: unknown): ErrorBody => {
  if (!(error instanceof BrigError)) return { code: 'store.failed', message: messageOf(error) };
  const body: ErrorBody = { code: error.code, message: error.message };
  if (error.hint !== undefined) body.hint = error.hint;
  if (Object.keys(error.details).length > 0) body.details = error.details;
  return body;
};

export const fromErrorBody = (body: ErrorBody): BrigError =>
  new BrigError(body.code, body.message, {
    ...(body.hint === undefined ? {} : { hint: body.hint }),
    ...(body.details === undefined ? {} : { details: body.details }),
  });

/** Exit status for an error: sysexits(3), 70 (a bug) for anything that is not a BrigError. */
export const exitStatusOf = (error: unknown): number => (error instanceof BrigError ? EXIT[error.code] : 70);

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
