import { uuidOf } from '../platform/uuid.ts';
import type { Vm } from '../platform/platform.ts';
import { jailOf, type Node } from './node.ts';

/** No module, no raw disk, no packet filter changes from inside. Source: security(7). */
export const SECURELEVEL = 3;

/** On by default in a new jail; where the kernel has the parameter, it is taken away. Source: jail(8). */
const TAKEN_AWAY = [
  'allow.set_hostname',
  'allow.reserved_ports',
  'allow.unprivileged_proc_debug',
  'allow.unprivileged_parent_tampering',
];
/** On by default, and needed: chroot(8) drops root inside the jail, which without it has no privilege at all. */
const NEEDED = 'allow.suser';

const usesPassthru = (vm: Vm): boolean => vm.spec.devices.passthru.length > 0;

/** What a VM's jail is allowed, by the names of the parameters. */
export const allowsOf = ({ features }: Node, vm: Vm): string[] => [
  'allow.vmm',
  ...(features.jailParameters.includes(NEEDED) ? [NEEDED] : []),
  ...(usesPassthru(vm) ? ['allow.vmm_ppt'] : []),
];

const negate = (name: string): string => name.replace(/([^.]+)$/, 'no$1');

/** What jail(8) is given: nothing is allowed but vmm(4), and nothing can be added from inside. */
export const parametersOf = (node: Node, vm: Vm): string[] => {
  const { name } = vm.spec;
  const { meta, jailParameters } = node.features;
  return [
    `name=${jailOf(name)}`,
    `path=${node.layout.vm(name).root}`,
    `host.hostname=${name}`,
    `host.hostuuid=${uuidOf(name)}`,
    'vnet',
    'persist',
    'children.max=0',
    'enforce_statfs=2',
    // pci(4) refuses passthru above level 0.
    ...(usesPassthru(vm) ? [] : [`securelevel=${SECURELEVEL}`]),
    `devfs_ruleset=${vm.place.uid}`,
    'allow.vmm',
    ...(usesPassthru(vm) ? ['allow.vmm_ppt'] : []),
    ...TAKEN_AWAY.filter((parameter) => jailParameters.includes(parameter)).map(negate),
    ...(meta ? [`meta.brig_vm=${name}`] : []),
  ];
};
