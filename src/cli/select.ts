import { BrigError } from '../base/errors.ts';
import type { Outcome } from '../engine/request.ts';
import type { VmView } from '../engine/view.ts';
import { nameOf, type Call, type Option } from './command.ts';
import { asList } from './document.ts';
import { withProgress } from './progress.ts';

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

type Act = (name: string, listener: object) => Promise<Outcome>;

/**
 * One VM by its name, or all that have the labels, at once: brigd works on them side by side.
 * Undefined: it was many. Errors: usage.invalid for neither or both; the first failure, after all have ended.
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
  const acts = vms.map((vm) => act(vm.name, {}));
  const ended = await withProgress(call.client, `${verb} ${vms.length} VMs`, false, () => Promise.allSettled(acts));
  const failed = ended.find((each) => each.status === 'rejected');
  if (failed) throw failed.reason;
  if (vms.length === 0 && call.values.all !== true) process.stderr.write(`no VM has label ${wanted.join(' and ')}\n`);
  return undefined;
};
