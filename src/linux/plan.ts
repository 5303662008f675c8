import { seed, seedsOf } from '../platform/seed.ts';
import { fileGrow } from '../platform/grow.ts';
import { keepFiles, restoreFiles } from '../platform/snapshots.ts';
import { firmwareVars } from '../platform/vars.ts';
import type { Step, StepDef } from '../base/step.ts';
import type { Vm } from '../platform/platform.ts';
import { diskFile, partsOf, tpmOf, type Part } from './devices.ts';
import { limitsOf, type Limits } from './limits.ts';
import { spaceOf, type Node } from './node.ts';
import type { Seen } from './observe.ts';
import { confine, device, readOnly, writable, type Bind } from './programs/bwrap.ts';
import { NETNS_DIR } from './programs/ip.ts';
import { INSIDE, qemuCommand } from './programs/qemu.ts';
import { makeSeed } from './programs/xorrisofs.ts';
import { cgroup } from './steps/cgroup.ts';
import { diskDir, fileDisk, overlayFlatten, overlayGrow, RUN_FILES, runDir } from './steps/files.ts';
import { bridge, inside, netns, tap, veth, vethMember } from './steps/network.ts';
import { qemu } from './steps/process.ts';
import { sockets, tpmDir } from './steps/sockets.ts';
import { BESIDE, withTpm } from './tpm.ts';

/** Every kind of step on Linux. */
export const catalogue = {
  'run-dir.create': runDir,
  'seed.make': seed,
  'disk-dir.create': diskDir,
  'disk.create': fileDisk,
  'disk.grow': fileGrow,
  'overlay.grow': overlayGrow,
  'overlay.flatten': overlayFlatten,
  'files.keep': keepFiles,
  'files.restore': restoreFiles,
  'vars.copy': firmwareVars,
  'tpm-dir.create': tpmDir,
  'cgroup.create': cgroup,
  'netns.create': netns,
  'bridge.create': bridge,
  'veth.create': veth,
  'veth.add': vethMember,
  'tap.create': tap,
  'netns.join': inside,
  'sockets.mount': sockets,
  'qemu.start': qemu,
} satisfies Record<string, StepDef<never, Seen>>;

type Kind = keyof typeof catalogue;
type ArgsOf<K extends Kind> = (typeof catalogue)[K] extends StepDef<infer Args, Seen> ? Args : never;

export const step = <K extends Kind>(kind: K, args: ArgsOf<K>): Step => ({ kind, args });

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
    ...(vm.spec.devices.tpm ? { beside: BESIDE } : {}),
  });
};

const nicSteps = (vm: Vm): Step[] =>
  vm.place.nics.flatMap((nic) => {
    const args = { vm: vm.spec.name, uid: vm.place.uid, unit: nic.unit, bridge: nic.bridge };
    const shared = nic.bridge.own ? [step('bridge.create', { bridge: nic.bridge })] : [];
    return [
      ...shared,
      step('veth.create', args),
      step('veth.add', args),
      step('tap.create', args),
      step('netns.join', args),
    ];
  });

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
