import { BrigError } from '../base/errors.ts';
import type { Cause } from './changes.ts';
import type { Trouble } from '../store/store.ts';
import type { Operation } from './operation.ts';

export interface Request {
  readonly cause: Cause;
  /** What a stop gives the guest to shut down; 0: killed at once. */
  readonly graceMs?: number;
  /** Told as soon as the operation is the VM's only one. */
  readonly onBegin?: (operation: Operation) => void;
}

/** Whether anything had to be done. */
export interface Outcome {
  readonly changed: boolean;
  /** The VM runs, with less than brig promises. */
  readonly downgraded?: string;
}

/** A step's error with what was attempted on which VM in front. */
export const named = (verb: string, name: string, error: unknown): unknown =>
  error instanceof BrigError && !error.message.startsWith(`${verb} ${name}: `)
    ? new BrigError(error.code, `${verb} ${name}: ${error.message}`, {
        retry: error.retry,
        details: error.details,
        cause: error,
        ...(error.hint === undefined ? {} : { hint: error.hint }),
      })
    : error;

/** Errors of what could not be taken back, with what is left. */
export const stuck = (verb: string, name: string, left: Trouble): BrigError =>
  new BrigError('saga.stuck', `${verb} ${name}: ${left.reason}`, {
    retry: 'operator',
    hint: `brig explain ${name}`,
    details: { left: left.left },
  });
