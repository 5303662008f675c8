import { addDevice, removeDevice } from './devices.ts';
import { endProcess } from './processes.ts';
import { reapJails } from './reap.ts';
import type { Process, Vm, World } from './world.ts';

const device = (jid: number, name: string) => ({
  name,
  mode: 0o600,
  uid: 0,
  gid: 0,
  ...(jid === 0 ? {} : { jid }),
});

/** Makes a machine with the credential of the process, and its node. */
export const createVm = (world: World, name: string, process: Process, cpus: number): void => {
  const vm: Vm = { name, jid: process.jid, pid: process.pid, cpus, ended: false, stale: false };
  world.vms.set(name, vm);
  addDevice(world, device(process.jid, `vmm/${name}`));
};

export const addSegment = (world: World, name: string, segment: string, jid: number): void =>
  addDevice(world, device(jid, `vmm.io/${name}.${segment}`));

/** Removes a machine and its nodes; a bhyve that runs it ends with status 4. */
export const destroyVm = (world: World, vm: Vm): void => {
  world.vms.delete(vm.name);
  for (const name of [...world.devices.keys()])
    if (name === `vmm/${vm.name}` || name.startsWith(`vmm.io/${vm.name}.`)) removeDevice(world, name);
  const process = world.processes.get(vm.pid);
  if (!vm.ended && process) endProcess(world, process, 4);
  reapJails(world);
};
