import { firmwareVars } from '../platform/vars.ts';
import type { Step, StepDef } from '../base/step.ts';
import type { Vm } from '../platform/platform.ts';
import { OVERHEAD_BYTES, spaceOf, type Node } from './node.ts';
import type { Seen } from './observe.ts';
import { confine, device, readOnly, writable, type Bind } from './programs/bwrap.ts';
import { cpuLimit, memoryLimit, type Setting } from './programs/cgroup.ts';
import { NETNS_DIR } from './programs/ip.ts';
import { diskFormat, INSIDE, qemuCommand, QEMU_THREADS } from './programs/qemu.ts';
import { cgroup } from './steps/cgroup.ts';
import { diskDir, fileDisk, RUN_FILES, runDir } from './steps/files.ts';
import { bridge, inside, netns, tap, veth, vethMember } from './steps/network.ts';
import { qemu } from './steps/process.ts';

/** Every kind of step on Linux. */
export const catalogue = {
  'run-dir.create': runDir,
  'disk-dir.create': diskDir,
  'disk.create': fileDisk,
  'vars.copy': firmwareVars,
  'cgroup.create': cgroup,
  'netns.create': netns,
  'bridge.create': bridge,
  'veth.create': veth,
  'veth.add': vethMember,
  'tap.create': tap,
  'netns.join': inside,
  'qemu.start': qemu,
} satisfies Record<string, StepDef<never, Seen>>;

type Kind = keyof typeof catalogue;
type ArgsOf<K extends Kind> = (typeof catalogue)[K] extends StepDef<infer Args, Seen> ? Args : never;

const step = <K extends Kind>(kind: K, args: ArgsOf<K>): Step => ({ kind, args });

/** True when QEMU must write to files: file disks or UEFI variables. */
const writesFiles = ({ spec }: Vm): boolean => 'uefi' in spec.firmware || spec.disks.some((disk) => 'file' in disk);

const diskFile = (disk: Parameters<typeof diskFormat>[0], index: number): string => `disk${index}.${diskFormat(disk)}`;

/** What lives as long as the VM is defined. */
export const createSteps = (node: Node, vm: Vm): Step[] => {
  const { name, disks, firmware } = vm.spec;
  const { disk: dir } = node.layout.vm(name);
  const { uid } = vm.place;
  return [
    ...(writesFiles(vm) ? [step('disk-dir.create', { vm: name, path: dir })] : []),
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
  const groups = cgroupSteps(node, vm);
  return [
    runDirStep(node, vm),
    ...groups.map((args) => step('cgroup.create', args)),
    step('netns.create', { vm: vm.spec.name }),
    ...nicSteps(vm),
    qemuStep(
      node,
      vm,
      run,
      graceMs,
      groups.map(({ dir }) => dir),
    ),
  ];
};

/** The files of one VM's sandbox, each by its own name: no directory of the host is in it. */
const bindsOf = (node: Node, vm: Vm): Bind[] => {
  const { config, disk: dir } = node.layout.vm(vm.spec.name);
  return [
    readOnly(`${config}/${RUN_FILES.firmware}`, INSIDE.firmware),
    // Opening a FIFO for writing is allowed on a read-only mount.
    readOnly(`${config}/${RUN_FILES.monitor}`, `${INSIDE.monitor}.in`),
    // Nobody reads what the monitor answers, so nothing may pile up.
    device('/dev/null', `${INSIDE.monitor}.out`),
    ...('uefi' in vm.spec.firmware ? [writable(`${dir}/vars.fd`, INSIDE.vars)] : []),
    ...vm.spec.disks.flatMap((disk, i) => {
      if ('image' in disk) return [readOnly(disk.image, INSIDE.image(i))];
      if (!('file' in disk)) return [];
      const { from } = disk.file;
      const own = writable(`${dir}/${diskFile(disk, i)}`, INSIDE.disk(i, diskFormat(disk)));
      return from === undefined ? [own] : [own, readOnly(from, INSIDE.base(i))];
    }),
    ...(node.features.accel === 'kvm' ? [device('/dev/kvm')] : []),
    ...(vm.place.nics.length > 0 ? [device('/dev/net/tun')] : []),
  ];
};

const runDirStep = (node: Node, vm: Vm): Step => {
  const { run, config, conIn, conOut } = node.layout.vm(vm.spec.name);
  const { firmware } = vm.spec;
  const rom = 'builtin' in firmware ? node.testRom : 'rom' in firmware ? firmware.rom : firmware.uefi.code;
  return step('run-dir.create', {
    vm: vm.spec.name,
    uid: vm.place.uid,
    paths: { run, config, conIn, conOut },
    rom,
    binds: bindsOf(node, vm),
  });
};

/** Memory always, where the host can; CPU time when asked for. Version 2 has one directory for both. */
const cgroupSteps = ({ features }: Node, { spec }: Vm): { vm: string; dir: string; set: Setting[] }[] => {
  const { memory, cpu } = features;
  const wanted = [
    ...(memory
      ? [{ root: memory.root, setting: memoryLimit(spec.limits.memory ?? spec.memory + OVERHEAD_BYTES, memory) }]
      : []),
    ...(cpu && spec.limits.pcpu !== undefined ? [{ root: cpu.root, setting: cpuLimit(spec.limits.pcpu, cpu) }] : []),
  ];
  const roots = [...new Set(wanted.map(({ root }) => root))];
  return roots.map((root) => ({
    vm: spec.name,
    dir: `${root}/${spaceOf(spec.name)}`,
    set: wanted.filter((each) => each.root === root).map(({ setting }) => setting),
  }));
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

const qemuStep = (node: Node, vm: Vm, run: string, graceMs: number, groups: readonly string[]): Step => {
  const { name, limits, cpus } = vm.spec;
  const { uid } = vm.place;
  const { supervisor, exits } = node.layout;
  const { run: dir, config, exit, resets, err, stop } = node.layout.vm(name);
  const { accel, kvmGroup } = node.features;
  const confinement = {
    uid,
    netns: `${NETNS_DIR}/${spaceOf(name)}`,
    // Threads count as processes here.
    tasks: cpus + QEMU_THREADS + (limits.processes ?? 0),
    ...(kvmGroup === undefined ? {} : { group: kvmGroup }),
    ...(limits.openfiles === undefined ? {} : { openFiles: limits.openfiles }),
    ...(limits.cpuset === undefined ? {} : { cpuset: limits.cpuset }),
  };
  return step('qemu.start', {
    vm: name,
    uid,
    run,
    graceMs,
    paths: { supervisor, run: dir, exits, exit, resets, err, stop, monitor: `${config}/${RUN_FILES.monitor}` },
    groups,
    sandbox: [node.sandbox, `${dir}/${RUN_FILES.sandbox}`],
    command: confine(confinement, qemuCommand(vm, accel)),
  });
};
