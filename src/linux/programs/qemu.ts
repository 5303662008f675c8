import type { Command } from '../../base/host.ts';
import { command } from '../../platform/command.ts';
import { SEED } from '../../platform/seed.ts';
import type { Vm } from '../../platform/platform.ts';
import { uuidOf } from '../../platform/uuid.ts';
import { spaceOf, type Features } from '../node.ts';

export const QEMU = '/usr/bin/qemu-system-x86_64';

/** Paths as QEMU sees them in its sandbox. */
export const INSIDE = {
  firmware: '/vm/firmware.rom',
  vars: '/disk/vars.fd',
  /** QEMU adds `.in` and `.out`. */
  monitor: '/vm/mon',
  disk: (name: string): string => `/disk/${name}`,
  /** What an overlay lies on. */
  base: (index: number): string => `/vm/base${index}.img`,
  seed: `/vm/${SEED}`,
  image: (index: number): string => `/vm/disk${index}.img`,
  /** The one directory that QEMU may make files in: small, and only where there are sockets. */
  sockets: '/sock',
  share: (name: string): string => `/share/${name}`,
  tpm: '/vm/tpm.ctrl',
  /** Of the screen. */
  password: '/vm/screen.secret',
} as const;

/** VNC does not start without one. */
export const KEYMAP = '/usr/share/qemu/keymaps/en-us';

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
  ...['-machine', 'q35,smm=off,usb=off,sata=off,smbus=off,vmport=off,graphics=off,dump-guest-core=off'],
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

/** QEMU for one VM with these devices, in the paths of its sandbox. Source: qemu-system-x86_64(1) */
export const qemuCommand = (vm: Vm, accel: Features['accel'], devices: readonly string[]): string[] => [
  QEMU,
  ...['-name', spaceOf(vm.spec.name), '-uuid', uuidOf(vm.spec.name)],
  ...['-nodefaults', '-no-user-config', '-display', 'none', '-vga', 'none', '-sandbox', SANDBOX],
  ...machine(accel),
  ...['-m', `${vm.spec.memory}B`, '-smp', String(vm.spec.cpus), '-rtc', 'base=utc'],
  // A reset ends QEMU: supervise.sh counts it and starts QEMU again, as bhyve needs it.
  ...['-no-reboot', '-trace', 'vm_state_notify', '-trace', 'qemu_system_shutdown_request'],
  ...['-chardev', 'stdio,id=com1,signal=off', '-serial', 'chardev:com1'],
  ...['-chardev', `pipe,id=mon,path=${INSIDE.monitor}`, '-mon', 'chardev=mon,mode=readline'],
  ...(vm.spec.wired ? ['-overcommit', 'mem-lock=on'] : []),
  ...firmwareArgs(vm),
  ...devices,
];

/** Every device that this QEMU has. */
export const listDevices = (): Command => command(QEMU, ['-machine', 'q35', '-device', 'help']);

/** Ends with 0 where a screen's password may come from a file. */
export const probePasswords = (): Command =>
  command(
    QEMU,
    [
      ...['-machine', 'none', '-nodefaults', '-display', 'none', '-S', '-monitor', 'stdio'],
      ...['-object', 'secret,id=screen,data=none', '-vnc', 'none,password-secret=screen'],
    ],
    { stdin: QUIT },
  );

/** Parses listDevices: `name "virtio-blk-pci", bus PCI, alias "virtio-blk"`. */
export const parseDevices = (text: string): ReadonlySet<string> =>
  new Set([...text.matchAll(/^name "([^"]+)"/gm)].map((match) => match[1] ?? ''));
