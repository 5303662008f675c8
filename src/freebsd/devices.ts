import { placeOf } from '../base/secret.ts';
import { SEED } from '../platform/seed.ts';
import type { Vm } from '../platform/platform.ts';
import { screenSecret } from '../spec/secret.ts';
import type { VmSpec } from '../spec/vm.ts';
import type { Use } from './fragments.ts';

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

/** A shared directory's path inside the jail. */
export const sharePath = (index: number): string => `/vm/share${index}`;

/** The TPM's emulator, from a port. */
export const SWTPM = '/usr/local/bin/swtpm';

/** Sockets that bhyve makes in the jail's /tmp; from the host only root gets there. */
export const SOCKETS = {
  screen: '/tmp/vnc.sock',
  tpm: '/tmp/tpm.sock',
  port: (name: string): string => `/tmp/port.${name}.sock`,
} as const;

/** Sockets that bhyve will not make when an old one is there: it never unlinks those of virtio-console. */
export const staleSockets = ({ devices }: VmSpec): string[] => devices['virtio-console'].map(SOCKETS.port);

/** True when bhyve must write to files: file disks, UEFI variables or a TPM's state. */
export const needsDiskDirectory = ({ spec }: Vm): boolean =>
  'uefi' in spec.firmware || spec.devices.tpm || spec.disks.some((disk) => 'file' in disk);

/** Everything that bhyve can be asked to emulate. */
export type DeviceName =
  | 'hostbridge'
  | 'lpc'
  | 'virtio-blk'
  | 'nvme'
  | 'ahci'
  | 'virtio-net'
  | 'e1000'
  | 'virtio-rnd'
  | 'virtio-console'
  | 'virtio-9p'
  | 'fbuf'
  | 'xhci'
  | 'tpm'
  | 'virtio-scsi'
  | 'hda'
  | 'passthru';

/** A descriptor that a device keeps open: its path in the jail, and the Capsicum rights that bhyve leaves on it. */
interface Open {
  readonly path: string;
  readonly rights: string;
}

/** One device of one VM. */
export interface Part {
  readonly device: DeviceName;
  /** Lines of bhyve_config(5). */
  readonly keys: readonly string[];
  /** What it needs in /dev. */
  readonly uses: readonly Use[];
  readonly opens: readonly Open[];
}

/** What a row needs to know of the node. */
export interface Where {
  /** Parent of zvols. */
  readonly dataset: string | undefined;
  /** The VM's name in vmm(4). */
  readonly machine: string;
}

interface Row {
  /** Slot numbers are fixed: a guest's device names must not move when another device comes or goes. */
  readonly slots: string;
  /** What it adds to the limits. */
  readonly threads: number;
  readonly files: number;
  /** Why the node must allow it: absent: anybody may ask for it. */
  readonly refused?: string;
  parts(vm: Vm, where: Where): readonly Omit<Part, 'device'>[];
}

/** Rights of each kind of descriptor. Source: FACTS 1.8, recorded by `procstat fds -C`. */
const RIGHTS = {
  disk: 'rd,wr,se,fy,fp,fs,ev,io,prd,pwr,re,sd',
  tap: 'rd,wr,ev,re,sd',
  random: 'rd,re',
  /** Directory of a share: the calls of 9p on what is below it. */
  share:
    'rd,wr,se,cr,fe,fy,ft,cd,cf,cm,cn,ct,fc,fl,fp,fk,fs,sf,fu,ls,lt,md,mf,mn,rs,rt,sl,un,lo,eg,es,ed,el,ag,as,ad,ac,prd,pwr,re,sd',
} as const;

const diskParts = (
  vm: Vm,
  where: Where,
  names: readonly string[],
  keysOf: (node: string, name: string, path: string) => readonly string[],
): Omit<Part, 'device'>[] =>
  vm.spec.disks.flatMap((disk, i) => {
    if (!names.includes(disk.device)) return [];
    const path = diskPath(vm, i, where.dataset);
    const node = `pci.0.${3 + i}.0`;
    const keys = keysOf(node, disk.device, path);
    // A CD, and an image of somebody else's, are never written.
    const ro = 'image' in disk ? [`${keys.at(-1)?.replace(/path=.*$/, '') ?? ''}ro=true`] : [];
    const volume = volumeOf(where.dataset ?? '', vm.spec.name, i);
    return [
      {
        keys: [...keys, ...ro],
        uses: 'zvol' in disk ? [{ fragment: 'zvol', values: { volume, uid: String(vm.place.uid) } }] : [],
        opens: [{ path, rights: RIGHTS.disk }],
      },
    ];
  });

/** Of the cloud-init seed, after all disks: theirs must not move when it comes. */
const SEED_NODE = 'pci.0.19.0';
const seedPath = `/vm/${SEED}`;

const seedParts = (vm: Vm, name: string, keys: readonly string[]): Omit<Part, 'device'>[] =>
  vm.spec.cloudInit?.device === name ? [{ keys, uses: [], opens: [{ path: seedPath, rights: RIGHTS.disk }] }] : [];

const nicParts = (vm: Vm, name: string): Omit<Part, 'device'>[] =>
  vm.place.nics.flatMap((nic, i) => {
    if (vm.spec.nics[i]?.device !== name) return [];
    const node = `pci.0.${20 + i}.0`;
    const tap = `tap${nic.unit}`;
    return [
      {
        keys: [`${node}.device=${name}`, `${node}.backend=${tap}`, `${node}.mac=${nic.mac}`],
        uses: [{ fragment: 'tap', values: { tap, uid: String(vm.place.uid) } }],
        opens: [{ path: `/dev/${tap}`, rights: RIGHTS.tap }],
      },
    ];
  });

const plain = (...keys: string[]): Omit<Part, 'device'> => ({ keys, uses: [], opens: [] });
const simpleDisk = (node: string, name: string, path: string): string[] => [
  `${node}.device=${name}`,
  `${node}.path=${path}`,
];

const ahciDisk = (node: string, name: string, path: string): string[] => [
  `${node}.device=ahci`,
  `${node}.port.0.type=${name.slice('ahci-'.length)}`,
  `${node}.port.0.path=${path}`,
];

const valuesOf = (vm: Vm, where: Where, more: Record<string, string> = {}): Record<string, string> => ({
  uid: String(vm.place.uid),
  machine: where.machine,
  ...more,
});

const sound = ({ spec, place }: Vm): Omit<Part, 'device'>[] => {
  const { hda } = spec.devices;
  if (!hda) return [];
  const nodes = [...new Set([hda.play, hda.rec].flatMap((path) => path ?? []))];
  return [
    {
      keys: [
        'pci.1.8.0.device=hda',
        ...(hda.play === undefined ? [] : [`pci.1.8.0.play=${hda.play}`]),
        ...(hda.rec === undefined ? [] : [`pci.1.8.0.rec=${hda.rec}`]),
      ],
      uses: nodes.map((path) => ({
        fragment: 'hda',
        values: { node: path.slice('/dev/'.length), uid: String(place.uid) },
      })),
      // unrecorded: which rights bhyve leaves on a sound device
      opens: nodes.map((path) => ({ path, rights: 'rd,wr,ev,io,re,sd' })),
    },
  ];
};

/** Every device that a document can ask for: bhyve's keys, what it needs in /dev, and what it costs. */
export const DEVICES: Readonly<Record<DeviceName, Row>> = {
  hostbridge: { slots: '0', threads: 0, files: 0, parts: () => [plain('pci.0.0.0.device=hostbridge')] },
  lpc: { slots: '31', threads: 1, files: 2, parts: () => [plain('lpc.com1.path=stdio', 'pci.0.31.0.device=lpc')] },
  'virtio-blk': {
    slots: '3-19',
    threads: 8,
    files: 1,
    parts: (vm, where) => [
      ...diskParts(vm, where, ['virtio-blk'], simpleDisk),
      ...seedParts(vm, 'virtio-blk', [...simpleDisk(SEED_NODE, 'virtio-blk', seedPath), `${SEED_NODE}.ro=true`]),
    ],
  },
  nvme: {
    slots: '3-18',
    threads: 9,
    files: 1,
    parts: (vm, where) => diskParts(vm, where, ['nvme'], simpleDisk),
  },
  ahci: {
    slots: '3-19',
    threads: 8,
    files: 1,
    // `ahci-cd` and `ahci-hd` are names of -s; in the configuration a port has a type (FACTS 1.2).
    parts: (vm, where) => [
      ...diskParts(vm, where, ['ahci-hd', 'ahci-cd'], ahciDisk),
      ...seedParts(vm, 'ahci-cd', [...ahciDisk(SEED_NODE, 'ahci-cd', seedPath), `${SEED_NODE}.port.0.ro=true`]),
    ],
  },
  'virtio-net': { slots: '20-27', threads: 2, files: 1, parts: (vm) => nicParts(vm, 'virtio-net') },
  e1000: {
    slots: '20-27',
    threads: 2,
    files: 1,
    refused: 'its emulation was broken out of twice (SA-19:21, SA-22:05); use virtio-net',
    parts: (vm) => nicParts(vm, 'e1000'),
  },
  'virtio-rnd': {
    slots: '30',
    threads: 0,
    files: 1,
    parts: ({ spec }) =>
      spec.devices['virtio-rnd']
        ? [
            {
              keys: ['pci.0.30.0.device=virtio-rnd'],
              uses: [],
              opens: [{ path: '/dev/random', rights: RIGHTS.random }],
            },
          ]
        : [],
  },
  'virtio-console': {
    slots: '1.0',
    threads: 2,
    files: 32,
    parts: ({ spec }) => {
      const ports = spec.devices['virtio-console'];
      if (ports.length === 0) return [];
      const keys = ports.flatMap((name, i) => [
        `pci.0.1.0.port.${i}.name=${name}`,
        `pci.0.1.0.port.${i}.path=${SOCKETS.port(name)}`,
      ]);
      return [plain('pci.0.1.0.device=virtio-console', ...keys)];
    },
  },
  'virtio-9p': {
    slots: '2.0-7',
    threads: 9,
    files: 256,
    parts: ({ spec }) =>
      spec.devices['virtio-9p'].map(({ name, readOnly }, i) => ({
        keys: [
          `pci.0.2.${i}.device=virtio-9p`,
          `pci.0.2.${i}.sharename=${name}`,
          `pci.0.2.${i}.path=${sharePath(i)}`,
          ...(readOnly ? [`pci.0.2.${i}.ro=true`] : []),
        ],
        uses: [],
        opens: [{ path: sharePath(i), rights: RIGHTS.share }],
      })),
  },
  fbuf: {
    slots: '29',
    threads: 2,
    files: 4,
    parts: (vm, where) => {
      const { fbuf } = vm.spec.devices;
      if (!fbuf) return [];
      const keys = [`rfb=unix:${SOCKETS.screen}`, `w=${fbuf.width}`, `h=${fbuf.height}`, 'vga=off'];
      const secret = screenSecret(vm.spec);
      if (secret) keys.push(`password=${placeOf(secret.name)}`);
      return [
        {
          keys: ['pci.0.29.0.device=fbuf', ...keys.map((key) => `pci.0.29.0.${key}`)],
          uses: [{ fragment: 'fbuf', values: valuesOf(vm, where) }],
          opens: [],
        },
      ];
    },
  },
  xhci: {
    slots: '19',
    threads: 1,
    files: 1,
    parts: ({ spec }) =>
      spec.devices.fbuf ? [plain('pci.0.19.0.device=xhci', 'pci.0.19.0.slot.1.device=tablet')] : [],
  },
  tpm: {
    slots: 'none',
    threads: 2,
    files: 8,
    parts: ({ spec }) =>
      spec.devices.tpm ? [plain('tpm.type=swtpm', `tpm.path=${SOCKETS.tpm}`, 'tpm.version=2.0')] : [],
  },
  'virtio-scsi': {
    slots: '28.0-3',
    threads: 8,
    files: 1,
    refused: 'guest commands reach ctl(4) in the kernel (SA-24:11, SA-24:18); use virtio-blk or nvme',
    parts: (vm) =>
      vm.spec.devices['virtio-scsi'].map((path, i) => ({
        keys: [`pci.0.28.${i}.device=virtio-scsi`, `pci.0.28.${i}.dev=${path}`],
        uses: [{ fragment: 'virtio-scsi', values: { node: path.slice('/dev/'.length), uid: String(vm.place.uid) } }],
        // unrecorded: which rights bhyve leaves on a CTL port
        opens: [{ path, rights: 'rd,wr,ev,io,re,sd' }],
      })),
  },
  hda: {
    slots: 'bus 1, 8',
    threads: 2,
    files: 2,
    refused: 'its emulation looped and read out of bounds (SA-24:17, SA-26:72)',
    parts: sound,
  },
  passthru: {
    slots: 'bus 1, 0-7',
    threads: 1,
    files: 4,
    parts: (vm, where) =>
      vm.spec.devices.passthru.map((ppt, i) => ({
        keys: [`pci.1.${i}.0.device=passthru`, `pci.1.${i}.0.pptdev=${ppt}`],
        uses: [{ fragment: 'passthru', values: valuesOf(vm, where) }],
        // unrecorded: which rights bhyve leaves on /dev/pci
        opens: [{ path: '/dev/pci', rights: 'rd,wr,io,re,sd' }],
      })),
  },
};

/** The devices of one VM, in the table's order. */
export const partsOf = (vm: Vm, where: Where): readonly Part[] =>
  (Object.keys(DEVICES) as DeviceName[]).flatMap((device) =>
    DEVICES[device].parts(vm, where).map((part) => ({ ...part, device })),
  );

/** The whole of /dev in a VM's jail, as fragments: nothing, then vmm(4), then what each device needs. */
export const usesOf = (vm: Vm, where: Where, reduced: boolean): readonly Use[] => [
  { fragment: 'base', values: {} },
  { fragment: reduced ? 'vmm14' : 'vmm', values: valuesOf(vm, where) },
  ...partsOf(vm, where).flatMap((part) => part.uses),
];

/** bhyve, the two shells and iasl that it starts once, and swtpm (FACTS 3.4). */
const PROCESSES = 8;
/** Descriptors and threads of a bhyve without devices, with room for what one more release adds. */
const FILES = 128;
const THREADS = 32;

/** What every VM may write into one file: its ROM variables and iasl's tables are smaller. */
const LEAST_FILE_BYTES = 16 * 2 ** 20;

export interface Bounds {
  readonly processes: number;
  readonly openfiles: number;
  readonly threads: number;
  /** Of one file; undefined where a share lets the guest write files of the host. */
  readonly fileBytes: number | undefined;
}

const fileBytesOf = ({ disks, devices }: VmSpec): number | undefined =>
  devices['virtio-9p'].some((share) => !share.readOnly)
    ? undefined
    : Math.max(LEAST_FILE_BYTES, ...disks.map((disk) => ('file' in disk ? disk.file.size : 0)));

/** Limits of every VM: what the document says, else what its devices can need and no more. */
export const limitsOf = (vm: Vm, where: Where): Bounds => {
  const { limits, cpus } = vm.spec;
  const parts = partsOf(vm, where);
  const sum = (of: 'files' | 'threads'): number => parts.reduce((all, { device }) => all + DEVICES[device][of], 0);
  return {
    processes: limits.processes ?? PROCESSES,
    openfiles: limits.openfiles ?? FILES + sum('files'),
    threads: limits.threads ?? THREADS + cpus + sum('threads'),
    fileBytes: fileBytesOf(vm.spec),
  };
};
