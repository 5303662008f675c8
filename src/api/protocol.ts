import type { Principal } from '../acl/principal.ts';
import type { ErrorBody } from '../base/errors.ts';
import type { EventRow } from '../store/rows.ts';

/**
 * HTTP/1.1 over a unix socket, or over TLS with signed requests; JSON both ways. Everything is below /v1; keys are
 * added, never changed. The resources stand in api/routes, and in the OpenAPI document that GET /v1/openapi.json answers.
 */
export const PREFIX = '/v1';

export const UPGRADE = 'brig-console';

/** Who somebody is to this node. Shape is stable. */
export type WhoAmI = Omit<Principal, 'owner'> & { readonly owner?: string };

/** One line of a running operation's answer. */
export type Line =
  | { readonly type: 'begin'; readonly id: string }
  | { readonly type: 'event'; readonly event: EventRow }
  | { readonly type: 'result'; readonly result: unknown }
  | { readonly type: 'error'; readonly error: ErrorBody };

/** HTTP status for an error code; the body says the rest. */
export const httpStatus = (body: ErrorBody): number => {
  switch (body.code) {
    case 'spec.invalid':
    case 'net.invalid':
    case 'usage.invalid':
    case 'api.invalid':
    case 'acl.invalid':
    case 'image.invalid':
      return 400;
    case 'host.denied':
      return 403;
    case 'acl.denied':
      return body.details?.authenticate === true ? 401 : 403;
    case 'api.unknown':
    case 'vm.unknown':
    case 'network.unknown':
    case 'image.unknown':
    case 'key.unknown':
    case 'secret.unknown':
      return 404;
    case 'vm.exists':
    case 'vm.blocked':
    case 'net.exhausted':
    case 'net.taken':
    case 'network.exists':
    case 'network.blocked':
    case 'image.inUse':
    case 'image.exists':
    case 'key.exists':
    case 'secret.locked':
    case 'console.taken':
    case 'saga.cancelled':
      return 409;
    case 'api.changed':
      return 412;
    case 'api.busy':
      return 429;
    default:
      return 500;
  }
};
