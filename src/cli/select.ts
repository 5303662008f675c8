import type { OperationListener } from '../api/wire.ts';
import { BrigError, exitStatusOf, toErrorBody } from '../base/errors.ts';
import type { Outcome } from '../engine/request.ts';
import type { VmView } from '../engine/view.ts';
import { nameOf, printJson, type Call, type Option } from './command.ts';
import { asList } from './document.ts';
import { interrupted, isCancelled, withProgress } from './progress.ts';
import { renderError } from './render.ts';

type Labels = Readonly<Record<string, string>>;

/** Labels that were asked for. Shape: `tier=web`, or `tier` with whatever value. */
export const labelsOf = ({ values }: Call): readonly string[] =>
  values.label === undefined ? [] : asList(values.label);

/** Whether it has every one of them. */
export const hasLabels = (labels: Labels, wanted: readonly string[]): boolean =>
  wanted.every((each) => {
    const at = each.indexOf('=');
    const key = at < 0 ? each : each.slice(0, at);
    return Object.hasOwn(labels, key) && (at < 0 || labels[key] === each.slice(at + 1));
  });

export const LABEL: Option = {
  type: 'string',
  multiple: true,
  about: 'every VM that has the label; of several, all of them',
  value: 'K[=V]',
  is: 'label',
};

type Act = (name: string, listener: OperationListener) => Promise<Outcome>;

/** How it ended for one of many. Shape is stable. */
type Ended = { readonly vm: string } & ({ readonly outcome: Outcome } | { readonly error: unknown });

/** All at once: brigd works on them side by side. */
const actOnAll = (call: Call, verb: string, isStart: boolean, act: Act, names: readonly string[]): Promise<Ended[]> =>
  withProgress(call.client, `${verb} ${names.length} VMs`, isStart, (on) => {
    // What each of them does at the moment says nothing about all.
    const listener: OperationListener = { begin: (id) => on.begin?.(id) };
    const ended = names.map((vm): Promise<Ended> =>
      act(vm, listener).then(
        (outcome) => ({ vm, outcome }),
        (error: unknown) => ({ vm, error: isCancelled(error) ? interrupted(`${verb} ${vm}`) : error }),
      ),
    );
    return Promise.all(ended);
  });

/** Every failure; the exit status is that of the first. */
const reportAll = ({ json }: Call, all: readonly Ended[]): void => {
  const failed = all.flatMap((each) => ('error' in each ? [each.error] : []));
  if (json) printJson(all.map((each) => ('error' in each ? { vm: each.vm, error: toErrorBody(each.error) } : each)));
  for (const error of failed) process.stderr.write(`brig: ${renderError(error)}\n`);
  if (failed.length > 0) process.exitCode = exitStatusOf(failed[0]);
};

/**
 * One VM by its name, or all that have the labels. Undefined: it was many, and is told.
 * Errors: usage.invalid for neither or both; of one VM those of `act`.
 */
export const onSelected = async (
  call: Call,
  verb: string,
  isStart: boolean,
  usage: string,
  act: Act,
  which: (vm: VmView) => boolean = () => true,
): Promise<Outcome | undefined> => {
  const wanted = labelsOf(call);
  const isMany = wanted.length > 0 || call.values.all === true;
  if (isMany === call.operands.length > 0)
    throw new BrigError(
      'usage.invalid',
      `read arguments: expected NAME or --label, got ${isMany ? 'both' : 'neither'}`,
      { hint: `usage: ${usage}` },
    );
  if (!isMany) {
    const name = nameOf(call);
    return await withProgress(call.client, `${verb} ${name}`, isStart, (on) => act(name, on));
  }
  const vms = (await call.client.list()).filter((vm) => hasLabels(vm.labels, wanted) && which(vm));
  const names = vms.map(({ name }) => name);
  reportAll(call, await actOnAll(call, verb, isStart, act, names));
  if (vms.length === 0 && call.values.all !== true) process.stderr.write(`no VM has label ${wanted.join(' and ')}\n`);
  return undefined;
};
