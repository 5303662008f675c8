import { placeOf } from '../base/secret.ts';
import { SEED } from '../platform/seed.ts';
import type { Layout } from '../platform/layout.ts';
import type { Vm } from '../platform/platform.ts';
import { screenSecret } from '../spec/secret.ts';
import { nicNames } from './node.ts';
import { device, readOnly, writable, type Bind } from './programs/bwrap.ts';
import { formatOf } from './programs/qemu-img.ts';
import { INSIDE, KEYMAP } from './programs/qemu.ts';
import type { SecretFile } from './steps/files.ts';

type Files = ReturnType<Layout['vm']>;
type Disk = Vm['spec']['disks'][number];

/** One device of a VM: what QEMU is told, and what it costs. */
export interface Part {
  readonly args: readonly string[];
  /** What the sandbox has for it, nodes of /dev among them. */
  readonly binds?: readonly Bind[];
  /** Name of the unix socket that QEMU listens on. */
  readonly socket?: string;
  /** A file that QEMU reads a secret from, whenever it starts. */
  readonly secret?: SecretFile;
  /** Threads and descriptors beside QEMU's own. */
  readonly threads?: number;
  readonly files?: number;
  /** Memory beside the guest's. */
  readonly bytes?: number;
}

/** One kind of device. */
interface Row {
  /** As the document calls it. */
  readonly name: string;
  /** As `-device` calls what it is made of. */
  readonly models: readonly string[];
  /** One for each that the VM has. */
  readonly parts: (vm: Vm, files: Files) => readonly Part[];
}

/** A file disk with a source is an overlay over it. */
export const diskFile = (disk: { file: { from?: string | undefined } }, index: number): string =>
  `disk${index}.${disk.file.from === undefined ? 'raw' : 'qcow2'}`;

/** Where a TPM keeps its state, and where it listens. */
export const tpmOf = ({ state }: Pick<Files, 'state'>) => ({ dir: `${state}/tpm`, socket: `${state}/tpm/ctrl` });

/** Whether reads and writes are counted; those that the page cache answers would not be. */
export const countsIo = ({ spec: { limits } }: Vm): boolean =>
  [limits.readBps, limits.writeBps, limits.readIops, limits.writeIops].some((each) => each !== undefined);

/** Every file on the host that a disk reads or writes. */
export const diskPaths = (disk: Disk, index: number, { disk: dir }: Pick<Files, 'disk'>): string[] => {
  if ('image' in disk) return [disk.image];
  if (!('file' in disk)) return [];
  return [`${dir}/${diskFile(disk, index)}`, ...(disk.file.from === undefined ? [] : [disk.file.from])];
};

const diskBinds = (disk: Disk, index: number, { disk: dir }: Files): Bind[] => {
  if ('image' in disk) return [readOnly(disk.image, INSIDE.image(index))];
  if (!('file' in disk)) return [];
  const name = diskFile(disk, index);
  const own = writable(`${dir}/${name}`, INSIDE.disk(name));
  return disk.file.from === undefined ? [own] : [own, readOnly(disk.file.from, INSIDE.base(index))];
};

/** Least bytes of the largest file that QEMU may write: sockets and UEFI variables, whose size is their file's. */
const LEAST_FILE_BYTES = 2 ** 26;

/** An overlay has tables beside its data: 8 bytes, and 2 for its count, for each 64 KiB. Source: QEMU's docs/interop/qcow2.txt. */
const overlayBytes = (bytes: number): number => bytes + Math.ceil(bytes / 4096) + 2 ** 20;

/** Bytes of the largest file that QEMU may write; undefined where a guest makes files of the host's. */
export const largestFile = ({ spec }: Vm): number | undefined =>
  spec.devices['virtio-9p'].some(({ readOnly: closed }) => !closed)
    ? undefined
    : Math.max(
        LEAST_FILE_BYTES,
        ...spec.disks.flatMap((disk) => {
          if (!('file' in disk)) return [];
          return disk.file.from === undefined ? disk.file.size : overlayBytes(disk.file.size);
        }),
      );

/** A broken QEMU could lock an image against every other VM that reads it; nobody writes to it. */
const readOnlyFile = (filename: string) => ({ driver: 'file', filename, locking: 'off' }) as const;

/** A node of QEMU's block layer; every format is told, none is guessed. */
const blockdev = (disk: Disk, index: number, direct: boolean): string[] => {
  const cache = direct ? { cache: { direct } } : {};
  const imageFile = (filename: string) => ({ ...readOnlyFile(filename), ...cache });
  const node = (driver: string, file: Record<string, unknown>, extra: Record<string, unknown>) => ({
    driver,
    'node-name': `disk${index}`,
    file,
    ...cache,
    ...extra,
  });
  if ('image' in disk)
    return ['-blockdev', JSON.stringify(node('raw', imageFile(INSIDE.image(index)), { 'read-only': true }))];
  if (!('file' in disk)) return [];
  const { from } = disk.file;
  const file = { driver: 'file', filename: INSIDE.disk(diskFile(disk, index)), ...cache };
  if (from === undefined) return ['-blockdev', JSON.stringify(node('raw', file, { discard: 'unmap' }))];
  const backing = { driver: formatOf(from), 'read-only': true, file: imageFile(INSIDE.base(index)), ...cache };
  return ['-blockdev', JSON.stringify(node('qcow2', file, { discard: 'unmap', backing }))];
};

/** Queues: a descriptor each way for each virtual CPU. */
const queueFiles = ({ spec }: Vm, perCpu: number): number => 8 + perCpu * spec.cpus;

type Attach = (index: number, nth: number) => readonly string[];

/** Every disk of one kind; `nth` counts those for which `like` is true, before this one. */
const disks =
  (
    name: Disk['device'],
    attach: Attach,
    like: (disk: Disk) => boolean = ({ device: each }) => each === name,
  ): Row['parts'] =>
  (vm, files) =>
    vm.spec.disks.flatMap((disk, i) => {
      if (disk.device !== name || 'zvol' in disk) return [];
      const nth = vm.spec.disks.slice(0, i).filter(like).length;
      const args = [...blockdev(disk, i, countsIo(vm)), ...attach(i, nth)];
      return [{ args, binds: diskBinds(disk, i, files), files: queueFiles(vm, 2) }];
    });

const AHCI_PORTS = 6;
const isAhci = (disk: Disk): boolean => disk.device.startsWith('ahci-');

/** The machine's own AHCI is off: a VM has as many controllers as its disks need. */
const ahci =
  (model: string): Attach =>
  (index, nth) => {
    const id = `ahci${Math.floor(nth / AHCI_PORTS)}`;
    const port = nth % AHCI_PORTS;
    const controller = port === 0 ? ['-device', `ich9-ahci,id=${id}`] : [];
    return [...controller, '-device', `${model},drive=disk${index},bus=${id}.${port}`];
  };

/** The tap is there already and belongs to the uid, so QEMU needs no privilege and no script. */
const nics =
  (name: Vm['spec']['nics'][number]['device'], model: string): Row['parts'] =>
  (vm) =>
    vm.place.nics.flatMap(({ unit, mac }, i) => {
      if (vm.spec.nics[i]?.device !== name) return [];
      const args = [
        ...['-netdev', `tap,id=net${i},ifname=${nicNames(unit).tap},script=no,downscript=no`],
        // romfile: there is no network boot, and no such file in the sandbox.
        ...['-device', `${model},netdev=net${i},mac=${mac},romfile=`],
      ];
      return [{ args, binds: [device('/dev/net/tun')], files: 16 }];
    });

const random: Row['parts'] = ({ spec }) =>
  spec.devices['virtio-rnd'] ? [{ args: ['-device', 'virtio-rng-pci'], files: 8 }] : [];

/** Readers and writers of a port's socket at the same time. Source: QEMU accepts one, one waits. */
const SOCKET_FILES = 4;

const consoles: Row['parts'] = ({ spec }) =>
  spec.devices['virtio-console'].map((name, i) => ({
    args: [
      ...(i === 0 ? ['-device', 'virtio-serial-pci,id=ports'] : []),
      ...['-chardev', `socket,id=port${i},path=${INSIDE.sockets}/${portSocket(name)},server=on,wait=off`],
      ...['-device', `virtserialport,bus=ports.0,chardev=port${i},name=${name}`],
    ],
    socket: portSocket(name),
    files: SOCKET_FILES,
  }));

/** Apart from the screen's. */
const portSocket = (name: string): string => `port-${name}`;

/** Files that a guest has open at a time; QEMU itself closes the oldest near the limit. Source: hw/9pfs/9p.c. */
const SHARE_FILES = 1024;

const shares: Row['parts'] = ({ spec }) =>
  spec.devices['virtio-9p'].map(({ name, path, readOnly: closed }, i) => ({
    args: [
      // none: owners and modes as they are; what the uid may not, the guest may not.
      ...['-fsdev', `local,id=fs${i},path=${INSIDE.share(name)},security_model=none${closed ? ',readonly=on' : ''}`],
      ...['-device', `virtio-9p-pci,fsdev=fs${i},mount_tag=${name}`],
    ],
    binds: [(closed ? readOnly : writable)(path, INSIDE.share(name))],
    files: SHARE_FILES,
  }));

const MIB = 2 ** 20;
const LEAST_VIDEO_BYTES = 16 * MIB;

/** A linear framebuffer and nothing of the old VGA, as bhyve's; VNC on a socket, never on TCP. */
const screen: Row['parts'] = ({ spec }, { config }) => {
  const { fbuf } = spec.devices;
  if (!fbuf) return [];
  const ref = screenSecret(spec);
  const secret = ref && { path: `${config}/${SCREEN_SECRET}`, text: placeOf(ref.name), ref };
  const { width, height } = fbuf;
  const bytes = Math.max(LEAST_VIDEO_BYTES, 2 ** Math.ceil(Math.log2(width * height * 4)));
  return [
    {
      args: [
        ...(secret ? ['-object', `secret,id=screen,file=${INSIDE.password}`] : []),
        ...['-vnc', `unix:${INSIDE.sockets}/${SCREEN_SOCKET}${secret ? ',password-secret=screen' : ''}`],
        ...['-device', `bochs-display,vgamem=${bytes / MIB}M,xres=${width},yres=${height},romfile=`],
        ...['-device', 'qemu-xhci,id=usb,p2=2,p3=2', '-device', 'usb-tablet,bus=usb.0'],
      ],
      binds: [readOnly(KEYMAP), ...(secret ? [readOnly(secret.path, INSIDE.password)] : [])],
      ...(secret ? { secret } : {}),
      socket: SCREEN_SOCKET,
      threads: 2,
      files: 32,
      // The guest's picture, the server's copy, and what a few viewers have not read yet.
      bytes: 8 * bytes,
    },
  ];
};

export const SCREEN_SOCKET = 'vnc';
/** In the directory of the VM's configuration. */
const SCREEN_SECRET = 'screen.secret';

const tpm: Row['parts'] = ({ spec }, files) =>
  spec.devices.tpm
    ? [
        {
          args: [
            ...['-chardev', `socket,id=tpm,path=${INSIDE.tpm}`, '-tpmdev', 'emulator,id=tpm0,chardev=tpm'],
            ...['-device', 'tpm-crb,tpmdev=tpm0'],
          ],
          // Connecting is allowed on a read-only mount.
          binds: [readOnly(tpmOf(files).socket, INSIDE.tpm)],
          // swtpm runs under the same uid.
          threads: 4,
          files: 8,
          bytes: 32 * MIB,
        },
      ]
    : [];

/** Of cloud-init. */
const seed =
  (name: string, attach: readonly string[]): Row['parts'] =>
  (vm, { config }) => {
    if (vm.spec.cloudInit?.device !== name) return [];
    const node = { driver: 'raw', 'node-name': 'seed', file: readOnlyFile(INSIDE.seed), 'read-only': true };
    return [
      {
        args: ['-blockdev', JSON.stringify(node), ...attach],
        binds: [readOnly(`${config}/${SEED}`, INSIDE.seed)],
        files: queueFiles(vm, 2),
      },
    ];
  };

/** Every kind of device, in the order of the guest's PCI slots. Source: qemu-system-x86_64(1) "-device help". */
export const DEVICES: readonly Row[] = [
  {
    name: 'virtio-blk',
    models: ['virtio-blk-pci'],
    parts: disks('virtio-blk', (i) => ['-device', `virtio-blk-pci,drive=disk${i}`]),
  },
  { name: 'nvme', models: ['nvme'], parts: disks('nvme', (i) => ['-device', `nvme,drive=disk${i},serial=disk${i}`]) },
  { name: 'ahci-hd', models: ['ich9-ahci', 'ide-hd'], parts: disks('ahci-hd', ahci('ide-hd'), isAhci) },
  { name: 'ahci-cd', models: ['ich9-ahci', 'ide-cd'], parts: disks('ahci-cd', ahci('ide-cd'), isAhci) },
  { name: 'virtio-net', models: ['virtio-net-pci'], parts: nics('virtio-net', 'virtio-net-pci') },
  { name: 'e1000', models: ['e1000'], parts: nics('e1000', 'e1000') },
  { name: 'virtio-console', models: ['virtio-serial-pci', 'virtserialport'], parts: consoles },
  { name: 'virtio-9p', models: ['virtio-9p-pci'], parts: shares },
  { name: 'fbuf', models: ['bochs-display', 'qemu-xhci', 'usb-tablet'], parts: screen },
  { name: 'tpm', models: ['tpm-crb'], parts: tpm },
  { name: 'virtio-rnd', models: ['virtio-rng-pci'], parts: random },
  // Last: no other device moves when it comes.
  { name: 'seed', models: ['virtio-blk-pci'], parts: seed('virtio-blk', ['-device', 'virtio-blk-pci,drive=seed']) },
  {
    name: 'seed on ahci-cd',
    models: ['ich9-ahci', 'ide-cd'],
    parts: seed('ahci-cd', ['-device', 'ich9-ahci,id=ahciseed', '-device', 'ide-cd,drive=seed,bus=ahciseed.0']),
  },
];

/** All devices of a VM. */
export const partsOf = (vm: Vm, files: Files): readonly Part[] => DEVICES.flatMap(({ parts }) => parts(vm, files));

/** What all of them need together. */
export const total = (parts: readonly Part[], what: 'threads' | 'files' | 'bytes'): number =>
  parts.reduce((sum, part) => sum + (part[what] ?? 0), 0);
