import type { ErrorBody } from '../base/errors.ts';
import type { EventRow } from '../store/rows.ts';

/**
 * HTTP/1.1 over a unix socket, JSON both ways. Everything is below /v1; keys are added, never changed.
 *
 * GET    /v1/vms                              VmView[]
 * POST   /v1/vms                              document -> lines, last a VmView
 * GET    /v1/vms/NAME                         VmView
 * DELETE /v1/vms/NAME?force=1                 lines, last an Outcome
 * POST   /v1/vms/NAME/start|stop|kill|restart|resolve lines, last an Outcome; stop takes ?graceMs=N
 * GET    /v1/vms/NAME/plan?verb=start         PlanLine[]
 * GET    /v1/vms/NAME/explain                 Explanation
 * GET    /v1/vms/NAME/console                 Upgrade: brig-console, then raw bytes both ways
 * GET    /v1/networks                         NetworkView[]
 * POST   /v1/networks                         document -> lines, last a NetworkView
 * GET    /v1/networks/NAME                    NetworkView, with its document as `spec`
 * PUT    /v1/networks/NAME                    document -> lines, last a NetworkView
 * DELETE /v1/networks/NAME                    lines, last an Outcome
 * GET    /v1/networks/NAME/leases             LeaseView[]
 * PUT    /v1/networks/NAME/jails/JAIL         addresses, owner and the like -> lines, last a JailView
 * DELETE /v1/networks/NAME/jails/JAIL         lines, last an Outcome
 * GET    /v1/findings                         FindingRow[]: what is not as brig made it, of all VMs
 * POST   /v1/shutdown?graceMs=N               lines with the events of all VMs, last a ShutdownEnd
 * POST   /v1/operations/ID/cancel             { cancelled: boolean }
 * GET    /v1/events?after=N&vm=NAME&follow=1  lines of EventRow
 * GET    /v1/audit                            Audit[]: every running VM
 * GET    /v1/vms/NAME/audit                   Audit[]: one VM
 * GET    /v1/doctor                           Finding[]
 * GET    /v1/base                             BaseView[]
 * POST   /v1/base?key=FILE                    BaseView
 * GET    /v1/base/DIGEST                      SignedManifest; DIGEST may be cut short, or `current`
 * POST   /v1/base/DIGEST/verify               BaseReport
 * DELETE /v1/base/DIGEST                      { removed }
 * GET    /v1/images                           ImageView[]
 * POST   /v1/images                           frames (api/frames) -> ImageView: an offer, disks, what is known at the end
 * GET    /v1/images/REF                       SignedImage; REF is a digest or its beginning, NAME or NAME:VERSION
 * GET    /v1/images/REF/disks/N               frames
 * POST   /v1/images/REF/verify                ImageReport
 * POST   /v1/images/REF/sign?key=FILE         ImageView
 * DELETE /v1/images/REF                       { removed }
 * POST   /v1/images/gc?dry=1                  GcLine[]
 * GET    /v1/keys                             KeyView[]: who may sign here
 * PUT    /v1/keys/NAME                        the text of a public key, as JSON -> KeyView
 * DELETE /v1/keys/NAME                        KeyView: revoked
 */
export const PREFIX = '/v1';

export const UPGRADE = 'brig-console';

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
      return 400;
    case 'host.denied':
    case 'acl.denied':
      return 403;
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
      return 409;
    case 'api.changed':
      return 412;
    case 'api.busy':
      return 429;
    default:
      return 500;
  }
};
