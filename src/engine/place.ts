import type {
  Attached,
  Bridge,
  GuestAddresses,
  Link,
  NetworkPlacement,
  NicPlacement,
  Route,
  Uplink,
} from '../base/placed.ts';
import { BrigError } from '../base/errors.ts';
import { BITS, parseAddress, renderAddress, type Address } from '../net/address.ts';
import { endsOf } from '../net/ipam.ts';
import { parseInterface, parseSubnet, renderInterface, renderSubnet, subnetAround } from '../net/subnet.ts';
import type { Vm } from '../platform/platform.ts';
import type { Config } from '../spec/config.ts';
import { guards, isRouter, type NetworkSpec } from '../spec/network.ts';
import type { VmSpec } from '../spec/vm.ts';
import type { AttachmentRow } from '../store/attachments.ts';
import type { AddressLease, NetworkRow, Networks } from '../store/networks.ts';
import type { VmRow } from '../store/rows.ts';
import type { Store } from '../store/store.ts';
import { nearest } from './nearest.ts';
import { checkPolicy, policyOf } from './policy.ts';

type Numbers = Pick<Config, 'slotBase' | 'unitBase' | 'networks'>;
type Nic = VmSpec['nics'][number];

/** What a placement is worked out from. */
export interface Places {
  readonly config: Numbers;
  readonly networks: Pick<Networks, 'find' | 'ipam' | 'list' | 'version'>;
  readonly findVm: (name: string) => VmRow | undefined;
}

export const placesOf = (config: Numbers, store: Store): Places => ({
  ...{ config, networks: store.networks },
  findVm: (name) => store.findVm(name),
});

/** The network that needs no document: a bridge of brig's own without an uplink. */
export const DEFAULT = 'default';

const plain = (network: string, bridge: Bridge, unit: number): NetworkPlacement => ({
  ...{ name: network, kind: bridge.own ? 'bridge' : 'external', bridge, unit },
  ...{ addresses: [], uplinks: [], routes: false, isolation: 'vm' },
});

/** What leaves room for the headers of a tunnel on a link of 1500. Source: RFC 7348 */
const TUNNEL_BYTES = { 4: 50, 6: 70 } as const;

const mtuOf = (spec: NetworkSpec): { mtu?: number } => {
  if (spec.mtu !== undefined) return { mtu: spec.mtu };
  return spec.kind === 'vxlan' ? { mtu: 1500 - TUNNEL_BYTES[parseAddress(spec.local).family] } : {};
};

const uplinksOf = (spec: NetworkSpec, unit: number): Uplink[] => {
  if (spec.kind === 'bridge') return spec.uplinks.map((name) => ({ kind: 'there', interface: name }));
  if (spec.kind === 'vlan' && spec.uplink !== undefined)
    return [{ kind: 'vlan', interface: `vlan${unit}`, parent: spec.uplink, tag: spec.tag }];
  if (spec.kind !== 'vxlan') return [];
  const { vni, local, port, remote, multicast } = spec;
  const to = multicast ? { group: multicast.address, device: multicast.device } : { remote: remote ?? '' };
  return [{ kind: 'vxlan', interface: `vxlan${unit}`, tunnel: { vni, local, port, to } }];
};

/** What the host has on a bridge whose router it is. */
const hostAddresses = (spec: NetworkSpec, { networks }: Places): string[] =>
  spec.kind !== 'nat'
    ? []
    : (networks.ipam(spec.name)?.gateways ?? []).flatMap(({ gateway, subnet }) =>
        gateway ? [renderInterface({ address: gateway, subnet })] : [],
      );

const bridgeOf = ({ spec }: NetworkRow, unit: number, places: Places): Pick<NetworkPlacement, 'bridge' | 'trunk'> => {
  if (spec.kind === 'routed') return {};
  if (spec.kind === 'external') return { bridge: { network: spec.name, name: spec.bridge, own: false } };
  if (spec.kind === 'vlan' && spec.trunk !== undefined) {
    const network = networkOf(spec.trunk, places);
    return { trunk: { network, tag: spec.tag }, ...(network.bridge ? { bridge: network.bridge } : {}) };
  }
  return { bridge: { network: spec.name, name: spec.interface ?? `bridge${unit}`, own: true } };
};

const cidrsOf = (spec: NetworkSpec): string[] => spec.subnets.map(({ cidr }) => cidr);

const routerOf = (spec: NetworkSpec): Pick<NetworkPlacement, 'router'> => {
  if (!isRouter(spec) || !guards(spec)) return {};
  const out = spec.kind === 'nat' && spec.out !== undefined ? { out: spec.out } : {};
  return { router: { network: spec.name, subnets: cidrsOf(spec), ...out, translates: spec.kind === 'nat' } };
};

const placeRow = (row: NetworkRow, places: Places): NetworkPlacement => {
  const { spec } = row;
  const unit = places.config.unitBase + row.number;
  return {
    ...{ name: spec.name, kind: spec.kind, unit },
    ...bridgeOf(row, unit, places),
    ...mtuOf(spec),
    addresses: hostAddresses(spec, places),
    uplinks: uplinksOf(spec, unit),
    routes: isRouter(spec),
    isolation: spec.isolation,
    ...routerOf(spec),
    ...(spec.kind === 'bridge' && spec.aware ? { aware: true } : {}),
    ...(spec.kind === 'bridge' && spec.moved ? { moved: spec.moved } : {}),
  };
};

const findNetwork = (name: string, places: Places): NetworkPlacement | undefined => {
  const { config, networks } = places;
  const row = networks.find(name);
  if (row) return placeRow(row, places);
  if (name === DEFAULT)
    return plain(name, { network: name, name: `bridge${config.unitBase}`, own: true }, config.unitBase);
  const external = config.networks[name];
  return external && plain(name, { network: name, name: external.bridge, own: false }, config.unitBase);
};

/** What a network is made of here. Errors: network.unknown with the nearest name. */
export const placeNetwork = (name: string, places: Places): NetworkPlacement => {
  const found = findNetwork(name, places);
  if (found) return found;
  throw unknownNetwork(name, places);
};

/** One that brig.yaml, say, does not name any more: who has a NIC on it is told at his start, and others are not bothered. */
const networkOf = (name: string, places: Places): NetworkPlacement =>
  findNetwork(name, places) ?? {
    ...{ name, kind: 'bridge', isGone: true, unit: places.config.unitBase },
    ...{ addresses: [], uplinks: [], routes: false, isolation: 'vm' },
  };

export const namesOf = ({ config, networks }: Places): string[] => [
  ...new Set([DEFAULT, ...Object.keys(config.networks), ...networks.list().map((row) => row.name)]),
];

/** `sees`: what of the others who asks may know. */
export const unknownNetwork = (
  name: string,
  places: Places,
  sees: (network: string) => boolean = () => true,
): BrigError => {
  const near = nearest(name, namesOf(places).filter(sees));
  return new BrigError('network.unknown', `find network ${name}: no such network`, {
    hint: near === undefined ? 'brig network list' : `did you mean ${near}?`,
  });
};

/** Refuses what this node does not have, before anything is leased. Errors: vm.blocked. */
export const checkNetworks = (spec: VmSpec, places: Places): void => {
  const names = namesOf(places);
  const unknown = spec.nics.map((nic) => nic.network).filter((network) => !names.includes(network));
  const refuse = (expected: string, got: string, hint: string): never => {
    throw new BrigError('vm.blocked', `place ${spec.name}: expected ${expected}, got ${got}`, {
      retry: 'operator',
      hint,
    });
  };
  if (unknown.length > 0)
    refuse(`network ${names.join(' or ')}`, unknown.join(', '), 'make it first: brig network create FILE');
  const aware = spec.nics.find((nic) => placeNetwork(nic.network, places).aware);
  if (aware) refuse('a network of kind vlan', `${aware.network}, which keeps VLANs apart`, 'brig network list');
  for (const [index, nic] of spec.nics.entries())
    checkPolicy(nic, index, places.networks.find(nic.network)?.spec, refuse);
};

const hostEnd = (lease: AddressLease, gateway: Address | undefined): Address | undefined =>
  endsOf(lease.block).host ?? gateway;

/** A lease as its guest has it, and as the host's end of a link of its own has it. */
const addressOf = (
  lease: AddressLease,
  { networks }: Places,
): { guest: string; gateway?: Address; dns: readonly string[] } => {
  const { block, network } = lease;
  const guest = endsOf(block).guest;
  const row = networks.find(network);
  const found = networks.ipam(network)?.find({ family: block.family, value: block.first });
  const isLink = row?.spec.kind === 'routed';
  const subnet = isLink || !found ? block : found.subnet;
  const gateway = isLink ? hostEnd(lease, found?.gateway) : found?.gateway;
  const dns = found ? (row?.spec.subnets[found.index]?.dns ?? []) : [];
  return { guest: renderInterface({ address: guest, subnet }), dns, ...(gateway ? { gateway } : {}) };
};

const byFamily = (addresses: readonly Address[]): string[] => [
  ...new Map(addresses.toReversed().map((each) => [each.family, renderAddress(each)])).values(),
];

/** What the document says goes before what the network says. */
const guestOf = (
  nic: Pick<Nic, 'addresses' | 'gateways' | 'dns'>,
  leases: readonly AddressLease[],
  places: Places,
): GuestAddresses => {
  const own = leases.filter(({ kind }) => kind !== 'delegated').map((lease) => addressOf(lease, places));
  const gateways = byFamily([
    ...nic.gateways.map(parseAddress),
    ...own.flatMap(({ gateway }) => (gateway ? [gateway] : [])),
  ]);
  const dns = nic.dns.length > 0 ? nic.dns : own.flatMap((each) => each.dns);
  return {
    addresses: own.length > 0 ? own.map(({ guest }) => guest) : nic.addresses,
    gateways,
    dns: [...new Set(dns)],
    delegated: leases.filter(({ kind }) => kind === 'delegated').map(({ block }) => renderSubnet(block)),
  };
};

const isHost = (text: string): boolean => {
  const { subnet } = parseInterface(text);
  return subnet.prefix === BITS[subnet.family];
};

/** The host's end has the other address of the block, or the subnet's router for all of them. */
const linkOf = (leases: readonly AddressLease[], guest: GuestAddresses, places: Places): Link => {
  const own = leases.filter(({ kind }) => kind !== 'delegated');
  const addresses = own.flatMap((lease) => {
    const gateway = addressOf(lease, places).gateway;
    if (!gateway) return [];
    const prefix = lease.block.prefix;
    return [renderInterface({ address: gateway, subnet: subnetAround(gateway, prefix) })];
  });
  const routes: Route[] = guest.addresses.filter(isHost).map((to) => ({ to }));
  const delegated = guest.delegated.flatMap((to): Route[] => {
    const via = guest.addresses.find((each) => parseInterface(each).address.family === parseSubnet(to).family);
    return via === undefined ? [] : [{ to, via: via.replace(/\/.*$/, '') }];
  });
  return { addresses, routes: [...routes, ...delegated] };
};

const placeNic = (row: VmRow, index: number, places: Places): NicPlacement => {
  const nic = row.spec.nics[index] as Nic;
  const lease = row.nics[index];
  const leases = row.addresses.filter((each) => each.index === index);
  const network = networkOf(nic.network, places);
  const guest = guestOf(nic, leases, places);
  const policy = policyOf({ owner: row.spec.owner, createdMs: row.createdMs }, nic, guest, places);
  return {
    unit: places.config.unitBase + (lease?.unit ?? 0),
    mac: lease?.mac ?? '',
    network,
    guest,
    ...(policy ? { policy } : {}),
    ...(network.bridge || network.isGone ? {} : { link: linkOf(leases, guest, places) }),
  };
};

/** Nobody wrote a document for its NIC. */
const PLAIN = { addresses: [], gateways: [], dns: [], sources: [], forwards: [] };

/** A jail on a network with the names of all that it is made of. */
export const placeAttachment = (row: AttachmentRow, places: Places): Attached => {
  const { network, unit, mac, addresses: leases, spec, createdMs } = row;
  const placed = networkOf(network, places);
  const guest = guestOf(PLAIN, leases, places);
  const policy = policyOf({ owner: spec.owner, createdMs }, { network, ...PLAIN }, guest, places);
  return {
    jail: spec.jail,
    gateway: spec.gateway,
    nic: {
      ...{ unit: places.config.unitBase + unit, mac, network: placed, guest },
      ...(policy ? { policy } : {}),
      ...(placed.bridge || placed.isGone ? {} : { link: linkOf(leases, guest, places) }),
    },
  };
};

interface Placed {
  readonly vm: Vm;
  /** Of the networks. */
  readonly version: number;
}

const placed = new WeakMap<VmRow, Placed>();

const namesOthers = ({ nics }: VmSpec): boolean =>
  nics.some(({ allow }) => allow?.some(({ from }) => typeof from === 'object'));

/** A VM with the names of all it is made of; worked out once for each row and change of a network. */
export const place = (row: VmRow, places: Places): Vm => {
  const { config, networks } = places;
  const before = placed.get(row);
  if (before?.version === networks.version) return before.vm;
  const vm: Vm = {
    spec: row.spec,
    place: {
      slot: row.slot,
      uid: config.slotBase + row.slot,
      secretName: row.secretName,
      nics: row.spec.nics.map((_, index) => placeNic(row, index, places)),
    },
  };
  // Whoever is named may have another address meanwhile.
  if (!namesOthers(row.spec)) placed.set(row, { vm, version: networks.version });
  return vm;
};
