import type { Layout } from '../platform/layout.ts';
import type { Vm } from '../platform/platform.ts';
import { countsIo, diskPaths, total, type Part } from './devices.ts';
import { CONTROLLERS, OVERHEAD_BYTES, spaceOf, type ControllerName, type Node } from './node.ts';
import type { Rlimits } from './programs/bwrap.ts';
import { cpuLimit, cpusetLimit, ioLimit, memoryLimit, taskLimit, type Setting } from './programs/cgroup.ts';
import { QEMU_THREADS } from './programs/qemu.ts';

/** Every bound of one VM. What the host's cgroups keep is theirs; rlimits hold beside them. */
export interface Limits {
  readonly groups: readonly { readonly dir: string; readonly set: readonly Setting[] }[];
  readonly rlimits: Rlimits;
  /** For taskset(1), where no cgroup does it. */
  readonly cpuset?: string;
}

/** Descriptors of QEMU without devices: measured 25, some for each virtual CPU under KVM. */
const QEMU_FILES = 128;

/** bwrap(1) and its like around QEMU are tasks of the cgroup, not of the uid. */
const AROUND = 12;

/** Stacks are locked whole. Source: pthread_create(3), RLIMIT_STACK's usual 8 MiB */
const STACK_BYTES = 8 * 2 ** 20;

/** Threads that QEMU may come to need: with fewer it ends itself in the middle of its work. */
export const leastThreads = ({ spec }: Vm, parts: readonly Part[]): number =>
  spec.cpus + QEMU_THREADS + total(parts, 'threads');

/** Memory that a VM may need beside the guest's. */
export const overheadBytes = (vm: Vm, parts: readonly Part[]): number =>
  OVERHEAD_BYTES + total(parts, 'bytes') + (vm.spec.wired ? leastThreads(vm, parts) * STACK_BYTES : 0);

/** Block devices, MAJOR:MINOR, that the disks of a VM are on; undefined for one that has none. */
export const blockDevices = (
  { devices }: Pick<Node, 'devices'>,
  { spec }: Vm,
  files: ReturnType<Layout['vm']>,
): (string | undefined)[] => [
  ...new Set(spec.disks.flatMap((disk, i) => diskPaths(disk, i, files)).map((path) => devices.find(path))),
];

type Wanted = readonly [name: ControllerName, settings: readonly Setting[]];

const wanted = (node: Node, vm: Vm, parts: readonly Part[]): Wanted[] => {
  const { limits, memory } = vm.spec;
  const { features } = node;
  const rows: { readonly [K in ControllerName]: (controller: NonNullable<Node['features'][K]>) => readonly Setting[] } =
    {
      memory: (on) => [memoryLimit(limits.memory ?? memory + overheadBytes(vm, parts), on)],
      cpu: (on) => (limits.pcpu === undefined ? [] : [cpuLimit(limits.pcpu, on)]),
      cpuset: (on) => (limits.cpuset === undefined ? [] : cpusetLimit(limits.cpuset, on)),
      pids: () => [taskLimit((limits.threads ?? leastThreads(vm, parts)) + AROUND)],
      io: (on) =>
        countsIo(vm)
          ? blockDevices(node, vm, node.layout.vm(vm.spec.name)).flatMap((device) =>
              device === undefined ? [] : ioLimit(device, limits, on),
            )
          : [],
    };
  return CONTROLLERS.flatMap((name) => {
    const controller = features[name];
    return controller ? [[name, rows[name](controller)] as const] : [];
  });
};

/** Memory and tasks always, the rest when asked for. Version 2 has one directory for all. */
export const limitsOf = (node: Node, vm: Vm, parts: readonly Part[]): Limits => {
  const { limits, wired } = vm.spec;
  const settings = wanted(node, vm, parts).filter(([, set]) => set.length > 0);
  const roots = [...new Set(settings.map(([name]) => node.features[name]?.root ?? ''))];
  return {
    groups: roots.map((root) => ({
      dir: `${root}/${spaceOf(vm.spec.name)}`,
      set: settings.filter(([name]) => node.features[name]?.root === root).flatMap(([, set]) => set),
    })),
    rlimits: {
      tasks: limits.threads ?? leastThreads(vm, parts),
      openFiles: limits.openfiles ?? QEMU_FILES + total(parts, 'files'),
      lockedMemory: wired,
    },
    ...(limits.cpuset === undefined || node.features.cpuset ? {} : { cpuset: limits.cpuset }),
  };
};
