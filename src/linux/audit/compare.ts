import { escapeControls } from '../../base/units.ts';
import type { Layout } from '../../platform/layout.ts';
import { property, type Property } from '../../platform/audit.ts';
import type { Vm } from '../../platform/platform.ts';
import { partsOf, type Part } from '../devices.ts';
import { limitsOf, type Limits } from '../limits.ts';
import type { Node } from '../node.ts';
import { bindsOf } from '../plan.ts';
import type { Bind } from '../programs/bwrap.ts';

/** What a VM shall be, from the data that its sandbox is made of. */
export interface Expected {
  readonly node: Node;
  readonly vm: Vm;
  readonly files: ReturnType<Layout['vm']>;
  readonly parts: readonly Part[];
  /** The VM's own, and those together with what every VM has. */
  readonly own: readonly Bind[];
  readonly binds: readonly Bind[];
  readonly limits: Limits;
}

export const expect = (node: Node, vm: Vm): Expected => {
  const files = node.layout.vm(vm.spec.name);
  const parts = partsOf(vm, files);
  const own = bindsOf(node, vm, parts);
  return { node, vm, files, parts, own, binds: [...node.common, ...own], limits: limitsOf(node, vm, parts) };
};

/** Sets larger than this are counted; of differences so many are named. */
const MOST_NAMED = 12;

const name = (items: readonly string[]): string =>
  [...items.slice(0, MOST_NAMED), ...(items.length > MOST_NAMED ? [`${items.length - MOST_NAMED} more`] : [])].join(
    ', ',
  );

const render = (items: readonly string[]): string =>
  items.length === 0 ? 'none' : items.length > MOST_NAMED ? `${items.length}, each by name` : items.join(', ');

/** A set that must be exactly what is expected, each of it once; what differs is named. */
export const sameSet = (
  id: string,
  what: string,
  expected: readonly string[],
  measured: readonly string[] | undefined,
  how: string,
): Property => {
  const wanted = [...expected].sort();
  const text = render(wanted);
  if (!measured) return property(id, what, text, undefined, how);
  const got = measured.map(escapeControls).sort();
  const extra = got.filter((item, i) => !wanted.includes(item) || got[i - 1] === item);
  const missing = wanted.filter((item) => !got.includes(item));
  if (extra.length + missing.length === 0) return property(id, what, text, text, how);
  const parts = [
    ...(extra.length > 0 ? [`not planned: ${name(extra)}`] : []),
    ...(missing.length > 0 ? [`missing: ${name(missing)}`] : []),
  ];
  return property(id, what, text, parts.join('; '), how);
};

/** Values of which there must be only one kind, such as a field of every thread. */
export const only = (values: readonly (string | undefined)[] | undefined): string | undefined => {
  if (!values || values.length === 0) return undefined;
  return [...new Set(values.map((value) => value ?? 'nothing'))].join(' and ');
};
