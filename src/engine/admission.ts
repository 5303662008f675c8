import { NODE } from '../acl/policy.ts';
import type { Principal } from '../acl/principal.ts';
import { BrigError } from '../base/errors.ts';
import type { VmDocument } from '../spec/vm.ts';
import type { Access } from './access.ts';

type Reach = readonly [path: string, what: string];

const ofDisks = ({ disks }: VmDocument): Reach[] =>
  disks.flatMap((disk, i): Reach[] => {
    if ('image' in disk) return [[`disks[${i}].image`, 'a file of the host']];
    const from = 'zvol' in disk ? disk.zvol.from : 'file' in disk ? disk.file.from : undefined;
    return from === undefined ? [] : [[`disks[${i}].from`, 'data of the host']];
  });

const ofNics = ({ nics }: VmDocument): Reach[] =>
  nics.flatMap(({ mode, mac, forwards, sources }, i): Reach[] => [
    ...(mode === 'direct' ? [[`nics[${i}].mode`, "the host's bridge itself"] as const] : []),
    ...(mac === undefined ? [] : [[`nics[${i}].mac`, "an address that could be another's"] as const]),
    ...(forwards.length === 0 ? [] : [[`nics[${i}].forwards`, 'ports of the host'] as const]),
    ...(sources.length === 0 ? [] : [[`nics[${i}].sources`, 'addresses that are not its own'] as const]),
  ]);

const ofDevices = ({ devices, unconfined }: VmDocument): Reach[] => [
  ...(unconfined ? [['unconfined', 'all of the host'] as const] : []),
  ...(devices['virtio-9p'].length === 0 ? [] : [['devices.virtio-9p', 'files of the host'] as const]),
  ...(devices['virtio-scsi'].length === 0 ? [] : [['devices.virtio-scsi', 'disks of the host'] as const]),
  ...(devices.hda === undefined ? [] : [['devices.hda', 'sound of the host'] as const]),
  ...(devices.passthru.length === 0 ? [] : [['devices.passthru', 'devices of the host'] as const]),
];

/** What of a document reaches the host itself, or what is others': for an administrator of the node alone. */
const reachOf = (document: VmDocument): Reach[] => {
  const { firmware, boot } = document;
  const isFile = typeof firmware === 'object' && !('builtin' in firmware);
  return [
    ...(isFile ? [['firmware', 'a file of the host'] as const] : []),
    ...ofDisks(document),
    ...ofNics(document),
    ...ofDevices(document),
    // brigd itself would connect, from the host, wherever it says, and tell whether somebody listens there.
    ...(boot.ready && 'port' in boot.ready ? [['boot.ready.port', 'networks as the host does'] as const] : []),
  ];
};

const refuse = (document: VmDocument, [path, what]: Reach): BrigError =>
  new BrigError('acl.denied', `create ${document.name}: denied: ${path} reaches ${what}, which takes admin on node`, {
    retry: 'operator',
    hint: `leave ${path} out, or ask an administrator`,
  });

/** Whose it will be: his own who asks, unless an administrator says otherwise. Errors: acl.denied. */
const ownerOf = (access: Access, who: Principal, { name, owner }: VmDocument): string | undefined => {
  if (who.isRoot || access.can(who, 'admin', NODE)) return owner ?? (who.isRoot ? undefined : who.owner);
  // Nobody's VM would have the node's own secrets, and no quota.
  if (who.owner === undefined)
    throw new BrigError('acl.denied', `create ${name}: denied: ${who.id} is nobody's, and can own no VM`, {
      ...{ retry: 'operator', hint: 'brig key add --owner USER makes a key that acts for a user' },
    });
  if (owner === undefined || owner === who.owner) return who.owner;
  throw new BrigError('acl.denied', `create ${name}: denied: expected owner ${who.owner}, got ${owner}`, {
    retry: 'operator',
  });
};

export interface Admission {
  readonly access: Access;
  /** NAME:VERSION of an image, whatever it was called. Errors: image.unknown for one that he may not view. */
  readonly imageOf: (who: Principal, ref: string) => Promise<string>;
  /** Errors: network.unknown for one that he may not view, acl.denied. */
  readonly checkNetwork: (who: Principal, name: string) => void;
}

/** Other VMs that a document speaks of. */
const othersIn = ({ name, boot, nics }: VmDocument): string[] => {
  const senders = nics.flatMap(({ allow = [] }) =>
    allow.map(({ from }) => (typeof from === 'object' ? from.vm : name)),
  );
  return [...boot.after, ...senders].filter((other) => other !== name);
};

/** What was found of a document. */
export interface Admitted {
  /** Whose it will be. */
  readonly owner?: string;
  /** NAME:VERSION of the image that was looked at. */
  readonly image?: string;
}

/**
 * Whether a principal may have this VM: its networks, its image, nothing of the host's or of others'.
 * Errors: acl.denied, network.unknown, image.unknown, vm.unknown; each before anything is made.
 */
export const admit = async (
  { access, imageOf, checkNetwork }: Admission,
  who: Principal,
  document: VmDocument,
): Promise<Admitted> => {
  const owner = ownerOf(access, who, document);
  const admitted = owner === undefined ? {} : { owner };
  if (who.isRoot) return admitted;
  const [first] = access.can(who, 'admin', NODE) ? [] : reachOf(document);
  if (first) throw refuse(document, first);
  for (const network of new Set(document.nics.map((nic) => nic.network))) checkNetwork(who, network);
  for (const name of othersIn(document)) access.checkVm(who, 'view', name);
  if (document.image === undefined) return admitted;
  const image = await imageOf(who, document.image);
  access.check(who, 'image', { kind: 'image', name: image });
  return { ...admitted, image };
};
