import { addDevice } from '../devices.ts';
import { addInterface } from '../network.ts';
import { done, fail, unknownArgv, type Program } from '../program.ts';
import type { World } from '../world.ts';

const MODULES: readonly string[] = [
  'if_bridge',
  'if_epair',
  'if_gre',
  'if_tuntap',
  'if_vlan',
  'if_vxlan',
  'if_wg',
  'nmdm',
  'nullfs',
  'pf',
  'pflog',
  'tarfs',
  'tmpfs',
  'vmm',
  'zfs',
];

const loadModule = (world: World, name: string): void => {
  if (world.modules.has(name)) return;
  world.modules.add(name);
  if (name === 'vmm') {
    if (world.mode === '15') addDevice(world, { name: 'vmmctl', mode: 0o600, uid: 0, gid: 0 });
    world.sysctls.set('hw.vmm.maxcpu', String(world.cpus));
    world.sysctls.set('security.jail.param.allow.vmm', '0');
  }
  if (name === 'pf') addDevice(world, { name: 'pf', mode: 0o600, uid: 0, gid: 0 });
  if (name === 'pflog') addInterface(world, 'pflog', 'pflog0', 0, 0);
};

/** kldload(8); -n: what is loaded already is fine. */
export const kldload: Program = (world, args) => {
  const quiet = args[0] === '-n';
  const names = quiet ? args.slice(1) : args;
  if (names.length === 0 || names.some((name) => name.startsWith('-')))
    throw unknownArgv('kldload', args, 'expected modules');
  for (const name of names) {
    // unrecorded: both texts
    if (!MODULES.includes(name)) return fail(`kldload: can't load ${name}: No such file or directory`);
    if (!quiet && world.modules.has(name))
      return fail(`kldload: can't load ${name}: module already loaded or in kernel`);
    loadModule(world, name);
  }
  return done();
};
