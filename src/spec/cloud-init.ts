import { z } from 'zod';
import { hasWholePlaces, placeOf, referredName } from '../base/secret.ts';
import { expected } from './fields.ts';

/** One line of an authorized_keys file without options. Source: sshd(8). */
const sshKey = z
  .string()
  .regex(
    /^(ssh-(ed25519|rsa)|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com) [A-Za-z0-9+/]{40,16000}={0,3}( [\x20-\x7e]{0,200})?$/,
    expected('a public key as in authorized_keys, such as ssh-ed25519 AAAA... me@host'),
  );

/** RFC 1123, at most what every guest's kernel takes. */
const hostname = z
  .string()
  .regex(
    /^(?=.{1,63}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/i,
    expected('a host name of letters, digits, - and dots, at most 63 characters'),
  );

/** Bytes of user-data: more than any cloud takes, and a document holds. */
const DATA_BYTES = 2 ** 19;
const dataExpected = expected(`a text of at most ${DATA_BYTES} bytes, or {base64: TEXT}`);
const base64 = z.base64(dataExpected).refine((text) => Buffer.from(text, 'base64').length <= DATA_BYTES, dataExpected);
/** `secret:NAME`, or a text with whole places for secrets; a place that nobody fills would reach the guest. */
const isWellReferred = (text: string): boolean =>
  /^secret:\S*\n?$/.test(text) ? referredName(text.trimEnd()) !== undefined : hasWholePlaces(text);
const plain = z
  .string()
  .refine((text) => Buffer.byteLength(text) <= DATA_BYTES, dataExpected)
  .refine(isWellReferred, expected('secret:NAME, or a text with {{secret:NAME}}, where NAME is of [a-z0-9._-]'));
/** As it is, to the byte; secrets go into their places when the seed is made. */
const data = z.union([plain, z.strictObject({ base64 })], dataExpected);

const sshKeys = z.array(sshKey).max(64);
const device = z.enum(['virtio-blk', 'ahci-cd']);

/** A NoCloud seed. Source: docs/brig.yaml.5; cloud-init's documentation of the data source. */
export const cloudInit = z.strictObject({
  /** Absent: the VM's name. */
  hostname: hostname.optional(),
  /** For the image's default user. */
  sshKeys: sshKeys.default([]),
  userData: data.optional(),
  vendorData: data.optional(),
  /** virtio-blk is what every cloud kernel has; a guest without virtio drivers wants ahci-cd. */
  device: device.default('virtio-blk'),
});

/** What of a seed is said in a template's place: nothing is filled in. */
export const cloudInitChoice = cloudInit.extend({ sshKeys: sshKeys.optional(), device: device.optional() });

export type SeedData = z.output<typeof data>;

/** A text with places for all secrets that it refers to. */
export const seedText = (text: string): string => {
  const name = referredName(text.trimEnd());
  return name === undefined ? text : placeOf(name);
};

const cidr = z.union([z.cidrv4(), z.cidrv6()], expected('an address with its prefix length, such as 192.0.2.10/24'));
const address = z.union([z.ipv4(), z.ipv6()], expected('an IP address'));

/** How a guest sets up a NIC; without addresses by DHCP. */
export const addressing = {
  addresses: z.array(cidr).max(16).default([]),
  /** At most one of each family. */
  gateways: z.array(address).max(2).default([]),
  dns: z.array(address).max(8).default([]),
};

export const isIpv6 = (text: string): boolean => text.includes(':');
