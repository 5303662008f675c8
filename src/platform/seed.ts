import { createHash } from 'node:crypto';
import type { NicPlacement } from '../base/placed.ts';
import type { Command, Effect } from '../base/host.ts';
import { versionPlaceOf, type SecretRef } from '../base/secret.ts';
import type { StepDef } from '../base/step.ts';
import { renderYaml } from '../spec/document.ts';
import { isIpv6, seedText, type SeedData } from '../spec/cloud-init.ts';
import { dataSecrets, seedSecrets } from '../spec/secret.ts';
import { run } from './command.ts';
import type { Layout } from './layout.ts';
import type { Vm } from './platform.ts';

/** A file of a seed. */
interface SeedFile {
  readonly name: string;
  readonly text: string;
  readonly encoding?: 'base64';
  /** What has places in the text. */
  readonly secrets?: readonly SecretRef[];
}

/** Of the file system that a guest looks for. */
export const SEED_LABEL = 'CIDATA';
/** In the directory that the guest's process sees as /vm. */
export const SEED = 'seed.iso';
/** When it was made, whenever that was: the same document gives the same bytes. Units: seconds since the epoch. */
export const SEED_TIME = 315_532_800;

const holding = (secrets: readonly SecretRef[]) => (secrets.length === 0 ? {} : { secrets });

const fileOf = ({ spec }: Vm, name: string, data: SeedData): SeedFile =>
  typeof data === 'string'
    ? { name, text: seedText(data), ...holding(dataSecrets(spec, data)) }
    : { name, text: data.base64, encoding: 'base64' };

/** FreeBSD's guest finds a NIC by its address; those of Linux that write /etc/network/interfaces need its name. */
const namesNics = ({ spec }: Vm): boolean => !/freebsd/i.test(spec.image?.os ?? '');

const ethernet = (vm: Vm, { mac, network, guest }: NicPlacement, index: number): Record<string, unknown> => {
  const { addresses, gateways, dns } = guest;
  const gateway4 = gateways.find((each) => !isIpv6(each));
  const gateway6 = gateways.find(isIpv6);
  return {
    match: { macaddress: mac },
    ...(namesNics(vm) ? { 'set-name': `eth${index}` } : {}),
    ...(addresses.length === 0 ? { dhcp4: true } : { addresses }),
    ...(gateway4 === undefined ? {} : { gateway4 }),
    ...(gateway6 === undefined ? {} : { gateway6 }),
    ...(dns.length === 0 ? {} : { nameservers: { addresses: dns } }),
    ...(network.mtu === undefined ? {} : { mtu: network.mtu }),
  };
};

/** Version 2, without `network` around it: so FreeBSD's nuageinit(7) reads it as well. */
const networkConfig = (vm: Vm): string =>
  renderYaml({
    version: 2,
    ethernets: Object.fromEntries(vm.place.nics.map((nic, i) => [`eth${i}`, ethernet(vm, nic, i)])),
  });

/** nuageinit(7) sets up no network without a cloud-config of two lines. */
const defaultData = (hostname: string): string => `#cloud-config\nhostname: ${JSON.stringify(hostname)}\n`;

/**
 * The files of a VM's NoCloud seed; none when the VM has no seed. The instance is another one whenever one of them is,
 * so that a guest heeds what changed. Source: cloud-init's data source NoCloud; nuageinit(7).
 */
const seedFiles = (vm: Vm): SeedFile[] => {
  const { name, cloudInit, nics } = vm.spec;
  if (!cloudInit) return [];
  const hostname = cloudInit.hostname ?? name;
  const { sshKeys: keys } = cloudInit;
  const files = [
    fileOf(vm, 'user-data', cloudInit.userData ?? defaultData(hostname)),
    ...(cloudInit.vendorData === undefined ? [] : [fileOf(vm, 'vendor-data', cloudInit.vendorData)]),
    ...(nics.length === 0 ? [] : [{ name: 'network-config', text: networkConfig(vm) }]),
  ];
  const about = {
    'local-hostname': hostname,
    // cloud-init reads the first, nuageinit(7) the second.
    ...(keys.length === 0 ? {} : { 'public-keys': keys, public_keys: keys }),
  };
  const digest = createHash('sha256')
    .update(JSON.stringify([vm.place.secretName, about, files]))
    .digest('hex');
  // A secret that was set again is something new, too.
  const secrets = seedSecrets(vm.spec);
  const id = [name, digest.slice(0, 16), ...secrets.map((each) => versionPlaceOf(each.name))].join('-');
  const metaData = renderYaml({ 'instance-id': id, ...about });
  return [{ name: 'meta-data', text: metaData, ...holding(secrets) }, ...files];
};

export interface SeedArgs {
  readonly vm: string;
  readonly uid: number;
  readonly files: readonly SeedFile[];
  /** Where it is put together, what is made of that, and where the guest's process finds it. */
  readonly paths: { readonly directory: string; readonly made: string; readonly seed: string };
  /** Makes the file system. */
  readonly make: Command;
}

/** The seed of a VM that has one. `make`: how this kind of host makes a file of a directory. */
export const seedsOf = (
  vm: Vm,
  { seed: directory, newSeed: made, config }: ReturnType<Layout['vm']>,
  make: (directory: string, to: string) => Command,
): SeedArgs[] => {
  const files = seedFiles(vm);
  const paths = { directory, made, seed: `${config}/${SEED}` };
  return files.length === 0 ? [] : [{ vm: vm.spec.name, uid: vm.place.uid, files, paths, make: make(directory, made) }];
};

/** What it asks of an observation: what is in the directory of the VM's configuration. */
export interface SeesConfig {
  readonly focus?: { readonly configFiles: ReadonlySet<string> } | undefined;
}

const ROOT = { uid: 0, gid: 0 };

const make = ({ files, paths, make: command, uid }: SeedArgs): Effect[] => [
  { do: 'remove', path: paths.directory },
  { do: 'mkdir', path: paths.directory, access: { mode: 0o700, ...ROOT } },
  ...files.map(({ name, text, encoding, secrets }): Effect => ({
    do: 'write',
    path: `${paths.directory}/${name}`,
    text,
    access: { mode: 0o600, ...ROOT },
    isSecret: true,
    ...(encoding === undefined ? {} : { encoding }),
    ...(secrets === undefined ? {} : { secrets }),
  })),
  { do: 'remove', path: paths.made },
  run(command),
  { do: 'copy', from: paths.made, to: paths.seed, access: { mode: 0o400, uid, gid: uid } },
  { do: 'remove', path: paths.made },
  { do: 'remove', path: paths.directory },
];

/**
 * A NoCloud seed, made anew by each start: it says what the document says now. Its process may read it and nobody else.
 * Undo:  removed.
 */
export const seed: StepDef<SeedArgs, SeesConfig> = {
  because: ({ vm }) => `${vm} is told its name, its keys and its addresses by cloud-init`,
  apply: make,
  undo: ({ paths }) => Object.values(paths).map((path): Effect => ({ do: 'remove', path })),
  holds: (_, seen) => (!seen.focus || seen.focus.configFiles.has(SEED) ? 'yes' : 'no'),
  // The guest's next reset reads it.
  repair: make,
};
