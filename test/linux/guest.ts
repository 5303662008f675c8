import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, globSync, mkdirSync, readdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A guest with Debian's kernel and a script as its first process, started by UEFI from a disk. */

const must = (program: string, args: readonly string[], options: { cwd?: string; input?: string } = {}): string => {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', ...options });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: status ${status}: ${stderr}`);
  return stdout;
};

/** Of the kernel that the meta package stands for; undefined when the lists of packages are not there, or too old. */
const download = (dir: string): string | undefined => {
  const depends = spawnSync('/usr/bin/apt-cache', ['depends', 'linux-image-amd64'], { encoding: 'utf8' }).stdout;
  const name = /Depends: (linux-image-\S+)/.exec(depends)?.[1];
  if (name === undefined) return undefined;
  const args = ['download', '-qq', '-o', 'APT::Sandbox::User=root', name];
  return spawnSync('/usr/bin/apt-get', args, { cwd: dir }).status === 0 ? name : undefined;
};

/** Unpacked, and never installed. */
const unpackKernel = (dir: string): { readonly vmlinuz: string; readonly modules: string } => {
  if (download(dir) === undefined) {
    must('/usr/bin/apt-get', ['update', '-qq']);
    if (download(dir) === undefined) throw new Error('apt-get download linux-image-amd64 failed');
  }
  const [deb = ''] = globSync(join(dir, '*.deb'));
  must('/usr/bin/dpkg-deb', ['-x', deb, join(dir, 'kernel')]);
  const [vmlinuz = ''] = globSync(join(dir, 'kernel/boot/vmlinuz-*'));
  const [modules = ''] = globSync(join(dir, 'kernel/lib/modules/*/kernel'));
  return { vmlinuz, modules };
};

/** In the order in which they need each other. */
const MODULES = [
  'drivers/virtio/virtio_ring.ko',
  'drivers/virtio/virtio.ko',
  'drivers/virtio/virtio_pci_legacy_dev.ko',
  'drivers/virtio/virtio_pci_modern_dev.ko',
  'drivers/virtio/virtio_pci.ko',
  'drivers/block/virtio_blk.ko',
  'drivers/cdrom/cdrom.ko',
  'drivers/scsi/scsi_common.ko',
  'drivers/scsi/scsi_mod.ko',
  'drivers/ata/libata.ko',
  'drivers/ata/libahci.ko',
  'drivers/ata/ahci.ko',
  'drivers/scsi/sr_mod.ko',
  'fs/isofs/isofs.ko',
];

const INIT = `#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc none /proc; mount -t sysfs none /sys; mount -t devtmpfs none /dev
for m in MODULES; do [ -f /m/$m ] && insmod /m/$m; done
sleep 1
`;

const makeInitrd = (dir: string, modules: string, script: string): string => {
  const root = join(dir, 'root');
  for (const each of ['bin', 'm', 'proc', 'sys', 'dev', 'mnt']) mkdirSync(join(root, each), { recursive: true });
  cpSync('/bin/busybox', join(root, 'bin/busybox'));
  const names = MODULES.map((path) => path.replace(/.*\//, ''));
  for (const [i, path] of MODULES.entries())
    if (globSync(join(modules, path)).length > 0) cpSync(join(modules, path), join(root, 'm', names[i] ?? ''));
  writeFileSync(join(root, 'init'), `${INIT.replace('MODULES', names.join(' '))}${script}`);
  chmodSync(join(root, 'init'), 0o755);
  const list = readdirSync(root, { recursive: true, encoding: 'utf8' });
  must('/usr/bin/cpio', ['-o', '-H', 'newc', '--quiet', '-F', '../initrd'], { cwd: root, input: list.join('\n') });
  return join(dir, 'initrd');
};

const STUB = '/usr/lib/systemd/boot/efi/linuxx64.efi.stub';

/** A disk that runs the script; the guest powers off when that ends. */
export const makeGuestDisk = (dir: string, disk: string, script: string): void => {
  mkdirSync(dir);
  const { vmlinuz, modules } = unpackKernel(dir);
  const initrd = makeInitrd(dir, modules, `${script}\npoweroff -f\n`);
  writeFileSync(join(dir, 'cmdline'), 'console=ttyS0 quiet panic=-1');
  const sections = [
    ['.osrel', '/etc/os-release', '0x20000'],
    ['.cmdline', join(dir, 'cmdline'), '0x30000'],
    ['.linux', vmlinuz, '0x2000000'],
    ['.initrd', initrd, '0x4000000'],
  ] as const;
  const added = sections.flatMap(([name, file, at]) => [
    ...['--add-section', `${name}=${file}`, '--change-section-vma', `${name}=${at}`],
  ]);
  must('/usr/bin/objcopy', [...added, STUB, join(dir, 'guest.efi')]);
  writeFileSync(disk, '');
  truncateSync(disk, 64 * 2 ** 20);
  must('/usr/bin/mformat', ['-i', disk, '-F', '::']);
  must('/usr/bin/mmd', ['-i', disk, '::/EFI', '::/EFI/BOOT']);
  must('/usr/bin/mcopy', ['-i', disk, join(dir, 'guest.efi'), '::/EFI/BOOT/BOOTX64.EFI']);
};
