import { strict as assert } from 'node:assert';
import { renderBytes } from '../../base/units.ts';
import { uuidOf } from '../../platform/uuid.ts';
import type { Vm } from '../../platform/platform.ts';
import { FIRMWARE, partsOf, type Where } from '../devices.ts';

const hasVars = (vm: Vm): boolean => 'uefi' in vm.spec.firmware;

const firmwareKeys = (vm: Vm): string[] => [
  `bootrom=${FIRMWARE.rom}`,
  ...(hasVars(vm) ? [`bootvars=${FIRMWARE.vars}`] : []),
];

/**
 * The file that `bhyve -k` reads: key=value lines, nothing quoted, so no value may hold a line end or `%`.
 * Source: bhyve_config(5), FACTS 1.2.
 */
export const renderConfig = (vm: Vm, where: Where, reduced: boolean): string => {
  const lines = [
    `name=${where.machine}`,
    `uuid=${uuidOf(vm.spec.name)}`,
    `cpus=${vm.spec.cpus}`,
    `memory.size=${renderBytes(vm.spec.memory)}`,
    ...(isWired(vm) ? ['memory.wired=true'] : []),
    'rtc.use_localtime=false',
    // An idle vCPU would burn a whole CPU of the host.
    'x86.vmexit_on_hlt=true',
    'x86.strictmsr=false',
    ...(reduced ? [] : firmwareKeys(vm)),
    // swtpm's tables do not fit bhyve's ROM area (FACTS 1.2).
    ...(vm.spec.devices.tpm ? ['acpi_tables_in_memory=false'] : []),
    ...partsOf(vm, where).flatMap((part) => part.keys),
  ];
  assert(
    lines.every((line) => !/[\n%]/.test(line)),
    'a bhyve value holds neither line ends nor %',
  );
  return `${lines.join('\n')}\n`;
};

/** What is there of a configuration, without the value of a secret. */
export const maskConfig = (text: string): string => text.replaceAll(/^(pci\.0\.29\.0\.password)=.*$/gm, '$1=********');

/** DMA of a host device goes to pages that must stay where they are. */
export const isWired = ({ spec }: Vm): boolean => spec.wired || spec.devices.passthru.length > 0;

/** The VM's own environment: nothing of brigd's, nothing of a login class (FACTS S.21). */
export const ENVIRONMENT = ['PATH=/bin:/usr/bin:/usr/sbin'] as const;

/** Before the jail: an empty environment. jexec -l would also lift the limits that supervise.sh has set. */
export const cleanEnvironment = (): readonly string[] => ['/usr/bin/env', '-i', ...ENVIRONMENT];

/** Drops root, and with -G its groups wheel and operator, which -u alone would keep (FACTS S.2). */
export const asUser = (uid: number, command: readonly string[]): readonly string[] => {
  const id = String(uid);
  return ['/usr/sbin/chroot', '-G', id, '-g', id, '-u', id, '/', ...command];
};

/** bhyve inside the jail. A reduced node (14) knows the ROM as an option only (FACTS 8). */
export const bhyveCommand = (vm: Vm, machine: string, reduced: boolean): readonly string[] => {
  const rom = ['bootrom', FIRMWARE.rom, ...(hasVars(vm) ? [FIRMWARE.vars] : [])].join(',');
  return ['/usr/sbin/bhyve', '-k', '/vm/bhyve.conf', ...(reduced ? ['-l', rom] : []), machine];
};
