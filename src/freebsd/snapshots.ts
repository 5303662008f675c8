import type { DiskPort, Host } from '../base/host.ts';
import type { Step } from '../base/step.ts';
import { BrigError } from '../base/errors.ts';
import type { Vm } from '../platform/platform.ts';
import { keepsOf } from '../platform/snapshots.ts';
import { volumeOf } from './devices.ts';
import { openClone, openVolume } from './image-disks.ts';
import type { Node } from './node.ts';
import type { Seen } from './observe.ts';
import { step } from './catalogue.ts';

/** Name of a volume's snapshot; others than brig's begin otherwise. */
const volumeAt = (node: Node, vm: Vm, disk: number, snapshot: string): string =>
  `${volumeOf(node.dataset ?? '', vm.spec.name, disk)}@brig-${snapshot}`;

const keptOf = (node: Node, vm: Vm, snapshot: string) => {
  const files = node.layout.vm(vm.spec.name);
  return keepsOf(vm, files, snapshot, `${files.disk}/tpm`, (i) => `disk${i}.raw`);
};

const volumesOf = (node: Node, vm: Vm, snapshot: string) => {
  const names = vm.spec.disks.flatMap((each, i) => ('zvol' in each ? [volumeAt(node, vm, i, snapshot)] : []));
  return names.length === 0 ? [] : [{ vm: vm.spec.name, snapshot, names }];
};

/** Volumes last: what is copied takes its time, and they do not. */
export const snapshotSteps = (node: Node, vm: Vm, snapshot: string): Step[] => [
  ...keptOf(node, vm, snapshot).map((args) => step('files.keep', args)),
  ...volumesOf(node, vm, snapshot).map((args) => step('zvol.snapshot', args)),
];

export const rollbackSteps = (node: Node, vm: Vm, snapshot: string): Step[] => [
  ...volumesOf(node, vm, snapshot).map((args) => step('zvol.rollback', args)),
  ...keptOf(node, vm, snapshot).map((args) => step('files.restore', args)),
];

/** zfs(8) lists the snapshots of a volume in the order in which they were made. */
export const strangersAfter = (
  node: Node,
  seen: Seen,
  vm: Vm,
  snapshot: string,
  own: readonly string[],
): readonly string[] => {
  const all = [...(seen.focus?.snapshots ?? [])];
  return vm.spec.disks.flatMap((_, i) => {
    const [name, known] = [volumeAt(node, vm, i, snapshot), new Set(own.map((each) => volumeAt(node, vm, i, each)))];
    const volume = name.slice(0, name.indexOf('@') + 1);
    const after = all.indexOf(name) + 1;
    return after === 0 ? [] : all.slice(after).filter((each) => each.startsWith(volume) && !known.has(each));
  });
};

export const growSteps = (node: Node, vm: Vm, index: number): Step[] => {
  const { name, disks } = vm.spec;
  const disk = disks[index];
  if (disk && 'zvol' in disk)
    return [step('zvol.grow', { vm: name, dataset: volumeOf(node.dataset ?? '', name, index), bytes: disk.zvol.size })];
  const path = `${node.layout.vm(name).disk}/disk${index}.raw`;
  return disk && 'file' in disk ? [step('disk.grow', { vm: name, path, bytes: disk.file.size })] : [];
};

export const promoteSteps = (node: Node, { spec: { name, disks } }: Vm): Step[] =>
  disks.flatMap((disk, i) => {
    const from = 'zvol' in disk ? disk.zvol.from : undefined;
    return from?.startsWith(`${node.dataset ?? ''}/images/`)
      ? [step('zvol.promote', { vm: name, dataset: volumeOf(node.dataset ?? '', name, i), from })]
      : [];
  });

/** A snapshot's volume by a clone that goes when it is closed. */
export const openVmDisk = async (
  host: Host,
  node: Node,
  vm: Vm,
  index: number,
  snapshot?: string,
): Promise<DiskPort> => {
  const { name, disks } = vm.spec;
  const disk = disks[index];
  const files = node.layout.vm(name);
  if (disk && 'zvol' in disk)
    return snapshot === undefined
      ? await openVolume(host, volumeOf(node.dataset ?? '', name, index), 'read')
      : await openClone(host, volumeAt(node, vm, index, snapshot), `${node.dataset ?? ''}/images`);
  if (!disk || !('file' in disk)) throw new BrigError('vm.blocked', `read ${name}: disk ${index} is not its own`);
  const directory = snapshot === undefined ? files.disk : `${files.snapshots}/${snapshot}`;
  return await host.openDisk(`${directory}/disk${index}.raw`, 'read');
};
