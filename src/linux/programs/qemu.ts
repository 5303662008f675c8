import type { Vm } from '../../platform/platform.ts';
import { uuidOf } from '../../platform/uuid.ts';
import { nicNames, spaceOf, type Features } from '../node.ts';
import { formatOf } from './qemu-img.ts';

export const QEMU = '/usr/bin/qemu-system-x86_64';

/** Paths as QEMU sees them in its sandbox. */
export const INSIDE = {
  firmware: '/vm/firmware.rom',
  vars: '/disk/vars.fd',
  /** QEMU adds `.in` and `.out`. */
  monitor: '/vm/mon',
  disk: (index: number, format: 'raw' | 'qcow2'): string => `/disk/disk${index}.${format}`,
  /** What an overlay lies on. */
  base: (index: number): string => `/vm/base${index}.img`,
  image: (index: number): string => `/vm/disk${index}.img`,
} as const;

/** A file disk with a source is an overlay over it. */
export const diskFormat = (disk: { file: { from?: string | undefined } }): 'raw' | 'qcow2' =>
  disk.file.from === undefined ? 'raw' : 'qcow2';

/** Lines that QEMU writes to stderr; supervise.sh reads them too. Seen with QEMU 7.2: `vm_state_notify running 1 reason 9 (running)`. */
export const RUNNING = 'vm_state_notify running 1 ';

/** As HMP commands, for the monitor's FIFO. */
export const POWER_BUTTON = 'system_powerdown\n';
export const QUIT = 'quit\n';

/**
 * Threads of QEMU: one per virtual CPU, its own few, and up to 64 that do I/O. Source: util/thread-pool.c.
 * With the seccomp filter below it cannot start programs at all.
 */
export const QEMU_THREADS = 80;

/** No SMM, no legacy USB, no VMware port, no S3, no S4: neither has bhyve. SMM also hangs on some nested KVM (seen: SeaBIOS). */
const machine = (accel: Features['accel']): string[] => [
  ...['-machine', 'q35,smm=off,usb=off,vmport=off,graphics=off,dump-guest-core=off'],
  ...['-global', 'ICH9-LPC.disable_s3=1', '-global', 'ICH9-LPC.disable_s4=1'],
  // TCG keeps translated code, by default up to an eighth of the host's memory. It alone tells triple faults.
  ...(accel === 'tcg' ? ['-accel', 'tcg,tb-size=128', '-d', 'cpu_reset'] : ['-accel', 'kvm']),
  ...['-cpu', 'max'],
];

/** The guest cannot make QEMU start anything, change its user, or use system calls that only old programs need. */
const SANDBOX = 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny';

const firmwareArgs = ({ spec }: Vm): string[] =>
  'uefi' in spec.firmware
    ? [
        ...['-drive', `if=pflash,unit=0,format=raw,readonly=on,file=${INSIDE.firmware}`],
        ...['-drive', `if=pflash,unit=1,format=raw,file=${INSIDE.vars}`],
      ]
    : ['-bios', INSIDE.firmware];

/** A node of QEMU's block layer in a file; every format is told, none is guessed. */
const blockdev = (name: string, format: 'raw' | 'qcow2', path: string, extra: Record<string, unknown>): string =>
  JSON.stringify({ driver: format, 'node-name': name, file: { driver: 'file', filename: path }, ...extra });

const diskArgs = ({ spec }: Vm): string[] =>
  spec.disks.flatMap((disk, i) => {
    const name = `disk${i}`;
    const drive = ['-device', `virtio-blk-pci,drive=${name}`];
    if ('image' in disk) return ['-blockdev', blockdev(name, 'raw', INSIDE.image(i), { 'read-only': true }), ...drive];
    if ('zvol' in disk) return [];
    const { from } = disk.file;
    const format = diskFormat(disk);
    if (from === undefined)
      return ['-blockdev', blockdev(name, format, INSIDE.disk(i, format), { discard: 'unmap' }), ...drive];
    const backing = { driver: formatOf(from), 'read-only': true, file: { driver: 'file', filename: INSIDE.base(i) } };
    return ['-blockdev', blockdev(name, format, INSIDE.disk(i, format), { discard: 'unmap', backing }), ...drive];
  });

/** The tap is there already and belongs to the uid, so QEMU needs no privilege and no script. */
const nicArgs = ({ place }: Vm): string[] =>
  place.nics.flatMap(({ unit, mac }, i) => [
    ...['-netdev', `tap,id=net${i},ifname=${nicNames(unit).tap},script=no,downscript=no`],
    // romfile: there is no network boot, and no such file in the sandbox.
    ...['-device', `virtio-net-pci,netdev=net${i},mac=${mac},romfile=`],
  ]);

/** QEMU for one VM, in the paths of its sandbox. Source: qemu-system-x86_64(1) */
export const qemuCommand = (vm: Vm, accel: Features['accel']): string[] => [
  QEMU,
  ...['-name', spaceOf(vm.spec.name), '-uuid', uuidOf(vm.spec.name)],
  ...['-nodefaults', '-no-user-config', '-display', 'none', '-vga', 'none', '-sandbox', SANDBOX],
  ...machine(accel),
  ...['-m', `${vm.spec.memory}B`, '-smp', String(vm.spec.cpus), '-rtc', 'base=utc'],
  // A reset ends QEMU: supervise.sh counts it and starts QEMU again, as bhyve needs it.
  ...['-no-reboot', '-trace', 'vm_state_notify', '-trace', 'qemu_system_shutdown_request'],
  ...['-chardev', 'stdio,id=com1,signal=off', '-serial', 'chardev:com1'],
  ...['-chardev', `pipe,id=mon,path=${INSIDE.monitor}`, '-mon', 'chardev=mon,mode=readline'],
  ...firmwareArgs(vm),
  ...diskArgs(vm),
  ...nicArgs(vm),
  ...['-device', 'virtio-rng-pci'],
];
