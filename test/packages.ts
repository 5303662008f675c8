/** Installs the Debian packages that real VMs on Linux and tests of shells need, or names them in one line. Silent when all are there. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

const NEEDED: Readonly<Record<string, string>> = {
  '/usr/bin/qemu-system-x86_64': 'qemu-system-x86',
  '/usr/bin/qemu-img': 'qemu-utils',
  '/usr/bin/zstd': 'zstd',
  '/usr/bin/xz': 'xz-utils',
  '/usr/bin/bzip2': 'bzip2',
  '/usr/bin/bwrap': 'bubblewrap',
  '/usr/sbin/ip': 'iproute2',
  '/usr/bin/ping': 'iputils-ping',
  '/usr/bin/mandoc': 'mandoc',
  '/usr/bin/ps': 'procps',
  '/usr/bin/swtpm': 'swtpm',
  '/usr/bin/xorrisofs': 'xorriso',
  '/usr/sbin/nft': 'nftables',
  '/usr/sbin/dnsmasq': 'dnsmasq-base',
  '/usr/share/OVMF/OVMF_CODE_4M.fd': 'ovmf',
  '/usr/bin/mformat': 'mtools',
  '/usr/bin/objcopy': 'binutils',
  '/usr/lib/systemd/boot/efi/linuxx64.efi.stub': 'systemd-boot-efi',
  '/usr/bin/cpio': 'cpio',
  '/bin/busybox': 'busybox-static',
  '/usr/bin/zsh': 'zsh',
  '/usr/bin/fish': 'fish',
  '/usr/bin/tcsh': 'tcsh',
  '/usr/bin/cc': 'gcc',
  '/usr/include/stdio.h': 'libc6-dev',
};

const missing = Object.entries(NEEDED).flatMap(([path, name]) => (existsSync(path) ? [] : [name]));

const install = (): void => {
  process.stderr.write(`installing ${missing.join(' ')}\n`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  for (const args of [
    ['update', '-qq'],
    ['install', '-y', '-qq', '--no-install-recommends', ...missing],
  ]) {
    const { status, stderr } = spawnSync('/usr/bin/apt-get', args, {
      env,
      stdio: ['ignore', 'ignore', 'pipe'],
      encoding: 'utf8',
    });
    if (status === 0) continue;
    process.stderr.write(`apt-get ${args.join(' ')}: status ${status}: ${stderr.trim().split('\n').at(-1) ?? ''}\n`);
    process.exit(69);
  }
};

if (missing.length > 0 && !existsSync('/sbin/devfs')) {
  if (process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')) install();
  else {
    process.stderr.write(`missing: apt-get install --no-install-recommends ${missing.join(' ')}\n`);
    process.exit(69);
  }
}
