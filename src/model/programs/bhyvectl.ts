import { done, fail, unknownArgv, type Answer, type Program } from '../program.ts';
import { endProcess } from '../processes.ts';
import { destroyVm } from '../vmm.ts';
import type { Vm, World } from '../world.ts';

/** EALREADY: it is suspended as it is (FACTS S.26). */
const ALREADY: Answer = { status: 255, stdout: 'errno = 37\n', stderr: '' };

/** Suspends the machine; its bhyve ends with the status. */
const suspend = (world: World, vm: Vm, status: number): Answer => {
  const process = world.processes.get(vm.pid);
  if (vm.ended || !process) return ALREADY;
  endProcess(world, process, status);
  return done();
};

const ACTIONS: Readonly<Record<string, (world: World, vm: Vm) => Answer>> = {
  '--destroy': (world, vm) => {
    destroyVm(world, vm);
    return done();
  },
  '--force-poweroff': (world, vm) => suspend(world, vm, 1),
  '--force-reset': (world, vm) => suspend(world, vm, 0),
  '--get-cpu-topology': (world, vm) => {
    const most = world.sysctls.get('hw.vmm.maxcpu') ?? '0';
    return done(`cpu_topology:\tsockets=${vm.cpus}, cores=1, threads=1, maxcpus=${most}\n`);
  },
};

/** bhyvectl(8) `--vm=NAME` and one action. */
export const bhyvectl: Program = (world, args) => {
  const name = /^--vm=(.+)$/.exec(args[0] ?? '')?.[1];
  const action = ACTIONS[args[1] ?? ''];
  if (name === undefined || !action || args.length !== 2)
    throw unknownArgv('bhyvectl', args, 'expected --vm= and an action');
  const vm = world.vms.get(name);
  return vm ? action(world, vm) : fail(`vm_open: ${name} could not be opened: No such file or directory`);
};
