import { DATA_GONE, type StepDef } from '../base/step.ts';

export interface VarsArgs {
  readonly vm: string;
  readonly from: string;
  readonly path: string;
  readonly uid: number;
}

/** All that it asks of an observation: what is in the VM's disk directory. */
export interface SeesDisks {
  readonly focus?: { readonly diskFiles?: ReadonlySet<string> | undefined } | undefined;
}

/** A private, writable copy of the UEFI variables. An existing one is kept: the guest's boot order is in it. */
export const firmwareVars: StepDef<VarsArgs, SeesDisks> = {
  keeps: true,
  because: ({ vm }) => `${vm} keeps its UEFI variables to itself`,
  apply: ({ from, path, uid }) => [{ do: 'copy', from, to: path, access: { mode: 0o600, uid, gid: uid }, keep: true }],
  undo: ({ path }) => [{ do: 'remove', path }],
  holds: (_, seen) => (!seen.focus || seen.focus.diskFiles?.has('vars.fd') ? 'yes' : 'no'),
  repair: () => DATA_GONE,
};
