import { strict as assert } from 'node:assert';
import { renderBytes } from '../../base/units.ts';
import { uuidOf } from '../../platform/uuid.ts';
import type { Vm } from '../../platform/platform.ts';
import { diskPath, FIRMWARE } from '../devices.ts';

const firmwareKeys = (vm: Vm): string[] =>
  'uefi' in vm.spec.firmware ? [`bootrom=${FIRMWARE.rom}`, `bootvars=${FIRMWARE.vars}`] : [`bootrom=${FIRMWARE.rom}`];

const diskKeys = (vm: Vm, dataset: string | undefined): string[] =>
  vm.spec.disks.flatMap((disk, i) => {
    const node = `pci.0.${3 + i}.0`;
    const keys = [`${node}.device=virtio-blk`, `${node}.path=${diskPath(vm, i, dataset)}`];
    return 'image' in disk ? [...keys, `${node}.ro=true`] : keys;
  });

const nicKeys = (vm: Vm): string[] =>
  vm.place.nics.flatMap((nic, i) => {
    const node = `pci.0.${20 + i}.0`;
    return [`${node}.device=virtio-net`, `${node}.backend=tap${nic.unit}`, `${node}.mac=${nic.mac}`];
  });

/**
 * The file that `bhyve -k` reads: key=value lines, nothing quoted, so no value may hold a line end or `%`.
 * Slots: 0 host bridge, 3-18 disks, 20-27 NICs, 30 entropy, 31 LPC. Source: bhyve_config(5), FACTS 1.2.
 */
export const renderConfig = (vm: Vm, dataset: string | undefined): string => {
  const lines = [
    `name=${vm.spec.name}`,
    `uuid=${uuidOf(vm.spec.name)}`,
    `cpus=${vm.spec.cpus}`,
    `memory.size=${renderBytes(vm.spec.memory)}`,
    'rtc.use_localtime=false',
    // An idle vCPU would burn a whole CPU of the host.
    'x86.vmexit_on_hlt=true',
    'x86.strictmsr=false',
    ...firmwareKeys(vm),
    'lpc.com1.path=stdio',
    'pci.0.0.0.device=hostbridge',
    ...diskKeys(vm, dataset),
    ...nicKeys(vm),
    'pci.0.30.0.device=virtio-rnd',
    'pci.0.31.0.device=lpc',
  ];
  assert(
    lines.every((line) => !/[\n%]/.test(line)),
    'a bhyve value holds neither line ends nor %',
  );
  return `${lines.join('\n')}\n`;
};

/** What runs inside the jail: -G drops root's groups wheel and operator, which -u alone would keep (FACTS S.2). */
export const bhyveCommand = (uid: number, name: string): readonly string[] => {
  const id = String(uid);
  return ['/usr/sbin/chroot', '-G', id, '-g', id, '-u', id, '/', '/usr/sbin/bhyve', '-k', '/vm/bhyve.conf', name];
};
