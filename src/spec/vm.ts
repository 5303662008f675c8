import { z } from 'zod';
import { LIMITS } from '../base/limits.ts';
import { SECRET_REF } from '../base/secret.ts';
import { parseBytes } from '../base/units.ts';
import { schedule } from './snapshot.ts';
import { addressing, cloudInit, isIpv6 } from './cloud-init.ts';
import { few, parseText, parseWith } from './document.ts';
import { filtering } from './filtering.ts';
import { count, expected, labels, name, mac, owner } from './fields.ts';

/** `2G` or a number of bytes; comes out in bytes. */
export const bytes = (leastBytes: number, what: string) =>
  z.union([z.string(), z.number()], expected(what)).transform((value, context) => {
    const parsed = typeof value === 'number' ? value : parseBytes(value);
    if (parsed !== undefined && Number.isInteger(parsed) && parsed >= leastBytes) return parsed;
    context.addIssue({ code: 'custom', message: `expected ${what}` });
    return z.NEVER;
  });

/** Absolute, no `..`, and none of the characters that bhyve_config(5), fstab or devfs rules would read as syntax. */
const path = z
  .string(expected('an absolute path'))
  .max(200)
  .regex(
    /^\/(?!.*(^|\/)\.\.(\/|$))[^\u0000-\u0020\u007f%\\"'#,:]+$/,
    expected('an absolute path without "..", blanks or any of %\\"\'#,:'),
  );

const dataset = z
  .string(expected('a dataset or snapshot name'))
  .max(120)
  .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]*(\/[A-Za-z0-9_.-]+)*(@[A-Za-z0-9_.-]+)?$/, expected('a dataset or snapshot name'));

const firmwareExpected = expected('uefi, or one of {builtin: test}, {rom: PATH}, {uefi: {code: PATH, vars: PATH}}');
const firmware = z.union(
  [
    z.strictObject({ builtin: z.literal('test') }),
    z.strictObject({ rom: path }),
    z.strictObject({ uefi: z.strictObject({ code: path, vars: path }) }),
  ],
  firmwareExpected,
);

const MIB = 2 ** 20;
const diskSize = bytes(MIB, 'a size of at least 1M, such as 20G');
const writableDevice = z.enum(['virtio-blk', 'nvme', 'ahci-hd']).default('virtio-blk');
const disk = z.union(
  [
    z.strictObject({ zvol: z.strictObject({ size: diskSize, from: dataset.optional() }), device: writableDevice }),
    z.strictObject({ file: z.strictObject({ size: diskSize, from: path.optional() }), device: writableDevice }),
    // Read-only: an image belongs to whoever put it there.
    z.strictObject({ image: path, device: z.enum(['virtio-blk', 'nvme', 'ahci-hd', 'ahci-cd']).default('virtio-blk') }),
  ],
  expected('one of {zvol: {size}}, {file: {size}}, {image: PATH}'),
);

/** A new disk where this node keeps disks: of an image's, or empty. */
const anyDisk = z.strictObject({ size: diskSize.optional(), device: writableDevice });
const documentDisk = z.union(
  [...disk.options, anyDisk],
  expected('one of {size}, {zvol: {size}}, {file: {size}}, {image: PATH}'),
);

/** NAME, NAME:VERSION or a digest's beginning. */
const imageRef = z
  .string(expected('an image'))
  .regex(
    /^[a-z0-9][a-z0-9._-]{0,62}(:[A-Za-z0-9][A-Za-z0-9._+~-]{0,62})?$/,
    expected('NAME, NAME:VERSION or a digest'),
  );

const nic = z.strictObject({
  network: name.default('default'),
  device: z.enum(['virtio-net', 'e1000']).default('virtio-net'),
  mac: mac.optional(),
  mode: z.enum(['vnet', 'direct']).default('vnet'),
  ...addressing,
  ...filtering,
});

const cpuList = z.string().regex(/^\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*$/, expected('a CPU list like 0-3,8'));
const rate = bytes(4096, 'bytes a second, at least 4K').optional();
const limits = z.strictObject({
  cpuset: cpuList.optional(),
  memory: bytes(16 * MIB, 'a size of at least 16M').optional(),
  /** Percent of one CPU. */
  pcpu: count(1, 100_000).optional(),
  openfiles: count(16, 100_000).optional(),
  threads: count(16, 100_000).optional(),
  processes: count(4, 1_000).optional(),
  /** Bytes, or operations, a second that bhyve may read and write. */
  readBps: rate,
  writeBps: rate,
  readIops: count(1, 10_000_000).optional(),
  writeIops: count(1, 10_000_000).optional(),
});

/** A name that is safe in a socket's path and in a bhyve value. */
const portName = z
  .string(expected('a name'))
  .regex(/^[a-z0-9][a-z0-9._-]{0,30}$/, expected('a name of [a-z0-9._-], at most 31 characters'));

const deviceNode = (pattern: RegExp, example: string) =>
  z.string(expected(`a device such as ${example}`)).regex(pattern, expected(`a device such as ${example}`));

/** Devices besides disks and NICs, by bhyve's names. Source: bhyve(8), docs/brig.yaml.5. */
const devices = z.strictObject({
  'virtio-rnd': z.boolean().default(true),
  /** Ports, each a unix socket that only root of the host reaches. */
  'virtio-console': z.array(portName).max(16).default([]),
  'virtio-9p': z
    .array(z.strictObject({ name: portName, path, readOnly: z.boolean().default(true) }))
    .max(8)
    .default([]),
  /** A screen on a unix socket (VNC), with a USB tablet. */
  fbuf: z
    .strictObject({
      width: count(640, 3840).default(1024),
      height: count(480, 2160).default(768),
      /** Never the password itself. */
      password: z
        .string(expected('a reference like secret:NAME'))
        .regex(SECRET_REF, expected('a reference like secret:NAME, never a password itself'))
        .optional(),
    })
    .optional(),
  tpm: z.boolean().default(false),
  /** Refused unless the node's allowDevices names it. */
  'virtio-scsi': z
    .array(deviceNode(/^\/dev\/cam\/ctl\d{1,4}\.\d{1,4}$/, '/dev/cam/ctl1.0'))
    .max(4)
    .default([]),
  hda: z
    .strictObject({
      play: deviceNode(/^\/dev\/dsp\d{0,3}$/, '/dev/dsp0').optional(),
      rec: deviceNode(/^\/dev\/dsp\d{0,3}$/, '/dev/dsp0').optional(),
    })
    .optional(),
  /** Host devices: no sandbox holds them, so the document must say `unconfined: true`. */
  passthru: z
    .array(deviceNode(/^ppt\d{1,3}$/, 'ppt0'))
    .max(8)
    .default([]),
});

const restart = z.strictObject({
  policy: z.enum(['never', 'on-failure', 'always']).default('on-failure'),
  max: count(1, 1_000).default(3),
  windowSeconds: count(1, 86_400).default(30),
});

/** When others may count on it: text on its console, a TCP port that the host reaches, or some time. */
const ready = z.union(
  [
    z.strictObject({
      console: z
        .string(expected('a text on one line'))
        .regex(/^[^\u0000-\u001f\u007f]{1,200}$/, expected('a text on one line, of 1 to 200 characters')),
    }),
    z.strictObject({
      port: z.strictObject({
        address: z.union([z.ipv4(), z.ipv6()], expected('an IP address')),
        port: count(1, 65_535),
      }),
    }),
    z.strictObject({ delaySeconds: count(1, 3_600) }),
  ],
  expected('one of {console: TEXT}, {port: {address, port}}, {delaySeconds: N}'),
);

const boot = z.strictObject({
  /** Lower starts earlier; nobody waits for it. */
  priority: count(0, 1_000).default(500),
  /** VMs that must be ready before. */
  after: z.array(name).max(64).default([]),
  ready: ready.optional(),
  readyTimeoutSeconds: count(1, 3_600).default(120),
});

/** Unknown keys are errors. Source: docs/brig.yaml.5. */
const vm = z.strictObject({
  name,
  cpus: count(1, 256).default(1),
  memory: bytes(MIB, 'a size of at least 1M, such as 512M').default(256 * MIB),
  /** Guest memory is never paged out. */
  wired: z.boolean().default(false),
  firmware,
  disks: z.array(disk).max(16).default([]),
  nics: z.array(nic).max(8).default([]),
  devices: devices.prefault({}),
  /** Accepts that the guest may leave the sandbox: needed by passthru, shown in every listing. */
  unconfined: z.boolean().default(false),
  /** A seed that tells the guest its name, keys and addresses. */
  cloudInit: cloudInit.optional(),
  console: z.strictObject({ logBytes: count(4096, 64 * MIB).default(LIMITS.consoleLogBytes) }).prefault({}),
  limits: limits.default({}),
  restart: restart.prefault({}),
  /** How many hourly, daily and weekly snapshots brigd makes and keeps. */
  snapshots: schedule.optional(),
  /** Whose VM it is: his rights, his secrets, his quota. */
  owner: owner.optional(),
  autostart: z.boolean().default(false),
  boot: boot.prefault({}),
  labels,
});

type Nics = z.output<typeof vm>['nics'];
const hasOneEach = ({ gateways }: Nics[number]): boolean => new Set(gateways.map(isIpv6)).size === gateways.length;

const vmSpec = vm
  .extend({
    /** What its first disks were made of. */
    image: z
      .strictObject({ name: z.string(), version: z.string(), digest: z.string(), os: z.string().optional() })
      .optional(),
  })
  .refine((vm) => vm.cloudInit !== undefined || vm.nics.every(({ addresses }) => addresses.length === 0), {
    path: ['cloudInit'],
    ...expected('an object such as {}, because nobody else tells the guest the addresses of its nics'),
  })
  .refine((vm) => vm.nics.every(hasOneEach), { path: ['nics'], ...expected('one gateway of each family for a nic') })
  .refine((vm) => vm.unconfined || vm.devices.passthru.length === 0, {
    path: ['unconfined'],
    ...expected('true, because passthru gives the guest hardware that reads all memory'),
  })
  .refine((vm) => !vm.boot.after.includes(vm.name), {
    path: ['boot', 'after'],
    ...expected('other VMs: none waits for itself'),
  });

/** What an image or this node may say in the document's place. */
export const vmDocument = vm.extend({
  image: imageRef.optional(),
  /** false: none, although the image reads one. */
  cloudInit: z.union([cloudInit, z.literal(false)]).optional(),
  firmware: z.union([...firmware.options, z.literal('uefi')], firmwareExpected).optional(),
  disks: z.array(documentDisk).max(16).default([]),
});

/** What a VM shall be: every default filled in, sizes in bytes. */
export type VmSpec = z.output<typeof vmSpec>;
/** What somebody asks for. */
export type VmDocument = z.output<typeof vmDocument>;
export type DocumentDisk = VmDocument['disks'][number];

/** A VM with everything said. Errors: spec.invalid with every problem at once. */
export const parseVm = (value: unknown, source = 'document'): VmSpec =>
  parseWith(vmSpec, few(value, source), source, 'spec.invalid');

/** A document that may leave things to its image and to the node. Errors: as above. */
export const parseVmDocument = (value: unknown, source = 'document'): VmDocument =>
  parseWith(vmDocument, few(value, source), source, 'spec.invalid');

export const parseVmText = (text: string, source: string): VmSpec => parseVm(parseText(text, source), source);
