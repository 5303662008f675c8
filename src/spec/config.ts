import { z } from 'zod';
import { parseText, parseWith } from './document.ts';
import { NAME, OWNER } from './fields.ts';
import { bytes } from './vm.ts';

const path = z.string().regex(/^\/[A-Za-z0-9._/-]+$/, { error: 'expected an absolute path of [A-Za-z0-9._/-]' });
const interfaceName = z.string().regex(/^[A-Za-z][A-Za-z0-9._-]{0,14}$/, { error: 'expected an interface name' });

const config = z.strictObject({
  /** Which platform; found by uname(1) when absent. */
  host: z.enum(['freebsd', 'linux', 'model']).optional(),
  /** Specs, journal, base images, disks of kind file. */
  stateDir: path.default('/var/db/brig'),
  /** Sockets, FIFOs, mounts: nothing that must survive a reboot. */
  runDir: path.default('/var/run/brig'),
  /** Parent dataset of zvols. Absent: zvol disks are refused. */
  dataset: z
    .string()
    .regex(/^[A-Za-z][A-Za-z0-9_.-]*(\/[A-Za-z0-9_.-]+)*$/, { error: 'expected a dataset name such as zroot/brig' })
    .optional(),
  /** What an owner's VMs may have together, whether they run or not; `*` is for every other owner. Units: bytes. */
  quotas: z
    .record(
      z.string().refine((text) => text === '*' || OWNER.test(text), { error: 'expected an owner, or *' }),
      z.strictObject({
        vms: z.int().min(0).max(10_000).optional(),
        cpus: z.int().min(0).max(100_000).optional(),
        memory: bytes(0, 'a size such as 64G').optional(),
        disk: bytes(0, 'a size such as 200G').optional(),
        addresses: z.int().min(0).max(1_000_000).optional(),
        snapshots: z.int().min(0).max(1_000_000).optional(),
      }),
    )
    .default({}),
  /** Volumes of VMs have all their space from the beginning; otherwise they take it as their guests write. */
  reserve: z.boolean().default(false),
  /** uid, gid and devfs ruleset of slot 0. */
  slotBase: z.int().min(1000).max(55_000).default(20_000),
  /** First unit of tap, epair and bridge that brig uses; people count up from 0. */
  unitBase: z.int().min(100).max(30_000).default(7_000),
  /** Extra networks: a bridge that exists already, used and never changed. `default` is brig's own. */
  networks: z
    .record(z.string().regex(NAME, { error: 'expected a network name' }), z.strictObject({ bridge: interfaceName }))
    .default({}),
  /** Devices that are refused otherwise: their emulation reaches the kernel, or has a record of escapes. */
  allowDevices: z.array(z.enum(['e1000', 'hda', 'virtio-scsi'])).default([]),
  /** What people change by hand about running VMs: made good, or only told. */
  reconcile: z.enum(['repair', 'report']).default('repair'),
  /** Programs that are told of what happens, and may refuse a start. */
  hooks: z
    .strictObject({
      dir: path.default('/usr/local/etc/brig/hooks'),
      /** Whom they run as. */
      user: z
        .string()
        .regex(/^[a-z_][a-z0-9_-]{0,31}$/, { error: 'expected the name of a user' })
        .default('nobody'),
      timeoutSeconds: z.int().min(1).max(600).default(30),
    })
    .prefault({}),
  /** Files of leases for servers of DHCP and DNS; absent: none is written. */
  leases: z
    .strictObject({
      dir: path,
      formats: z.array(z.enum(['dnsmasq', 'kea', 'unbound'])).min(1),
    })
    .optional(),
  /** Every request is in the audit log; with `syslog` in that of the system too. */
  auditLog: z.strictObject({ syslog: z.boolean().default(false) }).prefault({}),
  /** Whether what is said in sessions of consoles is kept, passwords that are typed among it. */
  consoles: z.strictObject({ record: z.boolean().default(false) }).prefault({}),
  /** Where requests from elsewhere come in; absent: nowhere. A certificate is made when none is named. */
  listen: z
    .strictObject({
      address: z.union([z.ipv4(), z.ipv6()], { error: 'expected an IP address' }),
      port: z.int().min(1).max(65_535),
      cert: path.optional(),
      key: path.optional(),
    })
    .refine(({ cert, key }) => (cert === undefined) === (key === undefined), {
      error: 'expected cert and key, or neither',
    })
    .optional(),
  /** What all secrets are sealed under, and where it comes from. */
  secrets: z
    .strictObject({
      master: z
        .union([z.enum(['file', 'passphrase']), z.strictObject({ hook: path }), z.strictObject({ file: path })], {
          error: 'expected file, passphrase, {hook: PATH} or {file: PATH}',
        })
        .default('file'),
    })
    .prefault({}),
  /** Linux: `auto` uses KVM only when the test ROM boots under it within a second. */
  accel: z.enum(['auto', 'tcg', 'kvm']).default('auto'),
});

/** The daemon's configuration, defaults filled in. */
export type Config = z.output<typeof config>;

/** Errors: config.invalid with every problem at once. */
export const parseConfig = (text: string, source: string): Config =>
  parseWith(config, parseText(text, source) ?? {}, source, 'config.invalid');
