import { BrigError } from '../base/errors.ts';
import type { Command, DiskPort, Host } from '../base/host.ts';
import type { Step } from '../base/step.ts';
import type { Vm } from '../platform/platform.ts';
import { keepsOf } from '../platform/snapshots.ts';
import { diskFile, tpmOf } from './devices.ts';
import type { Node } from './node.ts';
import { step } from './catalogue.ts';
import { flatten } from './programs/qemu-img.ts';

const nameOf = ({ spec }: Vm, index: number): string => {
  const disk = spec.disks[index];
  return disk && 'file' in disk ? diskFile(disk, index) : '';
};

const keptOf = (node: Node, vm: Vm, snapshot: string) => {
  const files = node.layout.vm(vm.spec.name);
  return keepsOf(vm, files, snapshot, tpmOf(files).dir, (i) => nameOf(vm, i));
};

export const snapshotSteps = (node: Node, vm: Vm, snapshot: string): Step[] =>
  keptOf(node, vm, snapshot).map((args) => step('files.keep', args));

export const rollbackSteps = (node: Node, vm: Vm, snapshot: string): Step[] =>
  keptOf(node, vm, snapshot).map((args) => step('files.restore', args));

export const growSteps = (node: Node, vm: Vm, index: number): Step[] => {
  const disk = vm.spec.disks[index];
  if (!disk || !('file' in disk)) return [];
  const name = diskFile(disk, index);
  const { size: bytes, from } = disk.file;
  const args = { vm: vm.spec.name, path: `${node.layout.vm(vm.spec.name).disk}/${name}`, bytes };
  return from === undefined
    ? [step('disk.grow', args)]
    : [step('overlay.grow', { ...args, name, from, uid: vm.place.uid })];
};

/** Only overlays over what the store of images keeps. */
export const promoteSteps = (node: Node, { spec: { name, disks }, place: { uid } }: Vm): Step[] =>
  disks.flatMap((disk, i) => {
    const from = 'file' in disk ? disk.file.from : undefined;
    if (!('file' in disk) || !from?.startsWith(`${node.layout.imageDisksDir}/`)) return [];
    const { disk: dir } = node.layout.vm(name);
    const file = diskFile(disk, i);
    const args = { vm: name, path: `${dir}/${file}`, name: file, bytes: disk.file.size, from, uid };
    return [step('overlay.flatten', { ...args, raw: `${dir}/disk${i}.raw` })];
  });

const read = async (host: Host, command: Command, vm: string): Promise<void> => {
  const { status, stderr } = await host.run(command);
  if (status !== 0)
    throw new BrigError('host.failed', `read the disks of ${vm}: qemu-img: status ${status}: ${stderr.trim()}`);
};

/** An overlay is read as a file that is made of it and goes when it is closed. */
export const openVmDisk = async (
  host: Host,
  node: Node,
  vm: Vm,
  index: number,
  snapshot?: string,
): Promise<DiskPort> => {
  const { name, disks } = vm.spec;
  const disk = disks[index];
  if (!disk || !('file' in disk)) throw new BrigError('vm.blocked', `read ${name}: disk ${index} is not its own`);
  const files = node.layout.vm(name);
  const path = `${snapshot === undefined ? files.disk : `${files.snapshots}/${snapshot}`}/${diskFile(disk, index)}`;
  const { from } = disk.file;
  if (from === undefined) return await host.openDisk(path, 'read');
  const scratch = `${node.layout.imageDisksDir}/new-flat-${Buffer.from(host.random(8)).toString('hex')}`;
  const flat = `${scratch}/disk.raw`;
  try {
    await host.mkdir(scratch, { mode: 0o700, uid: 0, gid: 0 });
    await host.allocate(flat, 0, { mode: 0o600, uid: 0, gid: 0 });
    await read(host, flatten({ path, base: from }, flat), name);
    const port = await host.openDisk(flat, 'read');
    return { ...port, close: () => port.close().then(() => host.remove(scratch)) };
  } catch (error) {
    await host.remove(scratch);
    throw error;
  }
};
