import { seedsOf } from '../platform/seed.ts';
import type { Step } from '../base/step.ts';
import type { Vm } from '../platform/platform.ts';
import { diskFile, partsOf, tpmOf, type Part } from './devices.ts';
import { limitsOf, type Limits } from './limits.ts';
import { spaceOf, type Node } from './node.ts';
import { confine, device, readOnly, writable, type Bind } from './programs/bwrap.ts';
import { NETNS_DIR } from './programs/ip.ts';
import { INSIDE, qemuCommand } from './programs/qemu.ts';
import { makeSeed } from './programs/xorrisofs.ts';
import { RUN_FILES } from './steps/files.ts';
import { BESIDE, withTpm } from './tpm.ts';
import { step } from './catalogue.ts';
import { nicSteps } from './networks.ts';

/** What lives as long as the VM is defined. */
export const createSteps = (node: Node, vm: Vm): Step[] => {
  const { name, disks, firmware } = vm.spec;
  const files = node.layout.vm(name);
  const dir = files.disk;
  const { uid } = vm.place;
  return [
    step('disk-dir.create', { vm: name, state: files.state, path: dir }),
    ...(vm.spec.devices.tpm ? [step('tpm-dir.create', { vm: name, path: tpmOf(files).dir, uid })] : []),
    ...('uefi' in firmware
      ? [step('vars.copy', { vm: name, from: firmware.uefi.vars, path: `${dir}/vars.fd`, uid })]
      : []),
    ...disks.flatMap((disk, i) => {
      if (!('file' in disk)) return [];
      const file = diskFile(disk, i);
      const { size: bytes, from } = disk.file;
      return [
        step('disk.create', {
          vm: name,
          path: `${dir}/${file}`,
          name: file,
          bytes,
          uid,
          ...(from === undefined ? {} : { from }),
        }),
      ];
    }),
  ];
};

/** What a run is made of. Backwards it is the stop: QEMU gone, then what it used. */
export const startSteps = (node: Node, vm: Vm, run: string, graceMs: number): Step[] => {
  const { name } = vm.spec;
  const parts = partsOf(vm, node.layout.vm(name));
  const limits = limitsOf(node, vm, parts);
  const { groups } = limits;
  return [
    runDirStep(node, vm, parts),
    ...seedsOf(vm, node.layout.vm(name), makeSeed).map((args) => step('seed.make', args)),
    ...(groups.length > 0 ? [step('cgroup.create', { vm: name, uid: vm.place.uid, groups })] : []),
    step('netns.create', { vm: name }),
    ...nicSteps(vm),
    ...(hasSockets(parts) ? [step('sockets.mount', { vm: name, path: socketsOf(node, name), uid: vm.place.uid })] : []),
    qemuStep(node, vm, run, graceMs, parts, limits),
  ];
};

const hasSockets = (parts: readonly Part[]): boolean => parts.some(({ socket }) => socket !== undefined);

/** Where a VM's sockets are on the host. */
export const socketsOf = (node: Node, name: string): string => `${node.layout.vm(name).run}/${RUN_FILES.sockets}`;

/** The same bind twice would be an error of bwrap's. */
const onceEach = (binds: readonly Bind[]): Bind[] => [...new Map(binds.map((bind) => [bind.at, bind])).values()];

/** The files of one VM's sandbox, each by its own name: no directory of the host is in it. */
export const bindsOf = (node: Node, vm: Vm, parts: readonly Part[]): Bind[] => {
  const { config, disk: dir } = node.layout.vm(vm.spec.name);
  return onceEach([
    readOnly(`${config}/${RUN_FILES.firmware}`, INSIDE.firmware),
    // Opening a FIFO for writing is allowed on a read-only mount.
    readOnly(`${config}/${RUN_FILES.monitor}`, `${INSIDE.monitor}.in`),
    // Nobody reads what the monitor answers, so nothing may pile up.
    device('/dev/null', `${INSIDE.monitor}.out`),
    ...('uefi' in vm.spec.firmware ? [writable(`${dir}/vars.fd`, INSIDE.vars)] : []),
    ...(node.features.accel === 'kvm' ? [device('/dev/kvm')] : []),
    ...parts.flatMap(({ binds }) => binds ?? []),
    ...(hasSockets(parts) ? [writable(socketsOf(node, vm.spec.name), INSIDE.sockets)] : []),
  ]);
};

const runDirStep = (node: Node, vm: Vm, parts: readonly Part[]): Step => {
  const { run, config, conIn, conOut } = node.layout.vm(vm.spec.name);
  const { firmware } = vm.spec;
  const rom = 'builtin' in firmware ? node.testRom : 'rom' in firmware ? firmware.rom : firmware.uefi.code;
  return step('run-dir.create', {
    vm: vm.spec.name,
    uid: vm.place.uid,
    paths: { run, config, conIn, conOut },
    rom,
    binds: bindsOf(node, vm, parts),
    secrets: parts.flatMap(({ secret }) => secret ?? []),
    ...(vm.spec.devices.tpm ? { beside: BESIDE } : {}),
  });
};

const qemuStep = (
  node: Node,
  vm: Vm,
  run: string,
  graceMs: number,
  parts: readonly Part[],
  { groups, rlimits, cpuset }: Limits,
): Step => {
  const { name } = vm.spec;
  const { uid } = vm.place;
  const files = node.layout.vm(name);
  const { supervisor, exits } = node.layout;
  const { run: dir, config, exit, resets, err, stop } = files;
  const { accel, kvmGroup } = node.features;
  const confinement = {
    uid,
    netns: `${NETNS_DIR}/${spaceOf(name)}`,
    rlimits,
    ...(kvmGroup === undefined ? {} : { group: kvmGroup }),
    ...(cpuset === undefined ? {} : { cpuset }),
  };
  const qemuArgs = qemuCommand(
    vm,
    accel,
    parts.flatMap(({ args }) => args),
  );
  return step('qemu.start', {
    vm: name,
    uid,
    run,
    graceMs,
    paths: { supervisor, run: dir, exits, exit, resets, err, stop, monitor: `${config}/${RUN_FILES.monitor}` },
    groups: groups.map(({ dir: group }) => group),
    sandbox: [node.filter, node.sandbox, `${dir}/${RUN_FILES.sandbox}`],
    command: withTpm(vm, files, node.tpm, `${dir}/${RUN_FILES.beside}`, confine(confinement, qemuArgs)),
  });
};
