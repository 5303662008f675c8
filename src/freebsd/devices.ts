import type { Vm } from '../platform/platform.ts';
import type { Rule } from './programs/devfs.ts';

/** Firmware as bhyve sees it inside the jail. */
export const FIRMWARE = { rom: '/vm/firmware.rom', vars: '/disk/vars.fd' } as const;

/** Parent dataset of a VM's volumes. */
export const vmDataset = (parent: string, name: string): string => `${parent}/vms/${name}`;

export const volumeOf = (parent: string, name: string, index: number): string =>
  `${vmDataset(parent, name)}/disk${index}`;

/** A disk's path inside the jail. */
export const diskPath = (vm: Vm, index: number, dataset: string | undefined): string => {
  const disk = vm.spec.disks[index];
  if (disk && 'zvol' in disk) return `/dev/zvol/${volumeOf(dataset ?? '', vm.spec.name, index)}`;
  return disk && 'image' in disk ? `/vm/disk${index}.img` : `/disk/disk${index}.raw`;
};

/** True when bhyve must write to files: file disks or UEFI variables. */
export const needsDiskDirectory = (vm: Vm): boolean =>
  'uefi' in vm.spec.firmware || vm.spec.disks.some((disk) => 'file' in disk);

const HIDE_ALL: Rule = { hide: true };

/** Each directory level on its own: fnmatch(3) does not cross a slash, and a parent stays hidden. */
const withParents = (path: string, leaf: Rule): Rule[] => {
  const parts = path.split('/');
  const parents = parts.slice(0, -1).map((_, i) => ({ path: parts.slice(0, i + 1).join('/') }));
  return [...parents, { ...leaf, path }];
};

/**
 * The whole of /dev in a VM's jail: nothing, then exact names, owned by the VM's uid alone.
 * Shape:  hide; null zero random urandom; vmmctl; vmm/NAME; vmm.io/NAME.*; tapU per NIC; each level of each zvol.
 * Source: devfs.rules(5), FACTS 4
 */
export const devfsRules = (vm: Vm, dataset: string | undefined): Rule[] => {
  const mine = { user: vm.place.uid, mode: 0o600 };
  const name = vm.spec.name;
  const volumes = vm.spec.disks.flatMap((disk, i) =>
    'zvol' in disk ? withParents(`zvol/${volumeOf(dataset ?? '', name, i)}`, mine) : [],
  );
  const all: Rule[] = [
    HIDE_ALL,
    // chroot, sh and iasl; virtio-rnd asserts that /dev/random opens
    ...['null', 'zero', 'random', 'urandom'].map((path) => ({ path })),
    { path: 'vmmctl', ...mine },
    ...withParents(`vmm/${name}`, mine),
    ...withParents(`vmm.io/${name}.*`, mine),
    ...vm.place.nics.map((nic) => ({ path: `tap${nic.unit}`, ...mine })),
    ...volumes,
  ];
  // Disks share their parents: one rule for each path.
  return all.filter((rule, i) => all.findIndex((other) => other.path === rule.path) === i);
};
