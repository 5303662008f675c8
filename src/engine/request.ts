import { BrigError } from '../base/errors.ts';
import type { Cause } from './changes.ts';
import type { Trouble } from '../store/rows.ts';
import type { Operation } from './operation.ts';

export interface Request {
  readonly cause: Cause;
  /** What a stop gives the guest to shut down; 0: killed at once. */
  readonly graceMs?: number;
  /** Told as soon as the operation is the VM's only one. */
  readonly onBegin?: (operation: Operation) => void;
  /** Whether who asks may know of a VM, of `network/NAME`, of `jail/NAME`: errors name no others. Absent: of all. */
  readonly sees?: (holder: string) => boolean;
}

/** Of what is in somebody's way: names that he may know, and how many others there are. */
export const toldTo = ({ sees = () => true }: Request, holders: readonly string[]): string => {
  const known = holders.filter(sees);
  const others = holders.length - known.length;
  const names = known.map((each) => each.replace(/^(network|jail)\//, ''));
  return [...names, ...(others === 0 ? [] : [`${others} that you may not view`])].join(', ');
};

/** Whether anything had to be done. */
export interface Outcome {
  readonly changed: boolean;
  /** The VM runs, with less than brig promises. */
  readonly downgraded?: string;
}

/** `network/lan` as people say it. */
export const titleOf = (name: string): string => name.replace('/', ' ');

/** An error with what was attempted on which VM in front; one of the store's own with what a person can do. */
export const named = (verb: string, name: string, error: unknown): unknown => {
  if (!(error instanceof BrigError)) return isOfStore(error) ? fullStore(verb, name, error) : error;
  // A restart tells of its stop or of its start.
  if (/^[a-z]+ ((?:network |jail )?\S+): /.exec(error.message)?.[1] === titleOf(name)) return error;
  return new BrigError(error.code, `${verb} ${titleOf(name)}: ${error.message}`, {
    retry: error.retry,
    details: error.details,
    cause: error,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
  });
};

const isOfStore = (error: unknown): error is Error =>
  error instanceof Error && (error as NodeJS.ErrnoException).code === 'ERR_SQLITE_ERROR';

const fullStore = (verb: string, name: string, error: Error): BrigError =>
  new BrigError('store.failed', `${verb} ${titleOf(name)}: write brig.db: ${error.message}`, {
    retry: 'operator',
    hint: 'look at the file system of stateDir: df; what is under way is finished or undone when it can be written',
    cause: error,
  });

/** Errors of what could not be taken back, with what is left. */
export const stuck = (verb: string, name: string, left: Trouble): BrigError =>
  new BrigError('saga.stuck', `${verb} ${titleOf(name)}: ${left.reason}`, {
    retry: 'operator',
    hint: name.includes('/') ? `brig network show ${name.replace(/^.*[/@]/, '')}` : `brig explain ${name}`,
    details: { left: left.left },
  });
