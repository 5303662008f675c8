import type { NetworkPlacement } from '../base/placed.ts';
import { parseAddress } from '../net/address.ts';
import { hasAddress, parseInterface } from '../net/subnet.ts';
import type { Finding } from './platform.ts';

/** What these checks ask of an interface of the host. */
export interface HostInterface {
  readonly name: string;
  /** brig's, where it has one. */
  readonly mark: string | undefined;
  readonly mtu: number;
  /** Shape: `192.0.2.5/24` */
  readonly addresses: readonly string[];
  readonly isBridge: boolean;
  /** Bridge that it is on. */
  readonly on: string | undefined;
}

/** How this kind of host marks and mends. */
export interface HostWords {
  readonly markOf: (network: string) => string;
  readonly makeBridge: (name: string) => string;
  readonly leave: (bridge: string, name: string) => string;
  /** An interface on a bridge hears nothing at its own addresses any more. */
  readonly losesAddresses: boolean;
}

type Interfaces = ReadonlyMap<string, HostInterface>;

const problem = (what: string, got: string, mend?: string): Finding => ({
  level: 'problem',
  what,
  got,
  ...(mend === undefined ? {} : { mend }),
});

/** Names that brig gives its own: strangers are never touched. */
const checkNames = (network: NetworkPlacement, host: Interfaces, { markOf }: HostWords): Finding[] => {
  const { name, bridge, uplinks } = network;
  const made = uplinks.flatMap((each) => (each.kind === 'there' ? [] : [each.interface]));
  return [...(bridge?.own ? [bridge.name] : []), ...made].flatMap((each) => {
    const found = host.get(each);
    return found && found.mark !== markOf(name)
      ? [
          problem(
            `interface ${each} free or marked ${markOf(name)}`,
            `in use: ${found.mark ?? 'without a mark of brig'}`,
            'set another unitBase, or another interface in the document',
          ),
        ]
      : [];
  });
};

const checkExternal = ({ name, bridge }: NetworkPlacement, host: Interfaces, words: HostWords): Finding[] => {
  if (!bridge || bridge.own) return [];
  const found = host.get(bridge.name);
  return found?.isBridge
    ? []
    : [
        problem(
          `bridge ${bridge.name} of network ${name}`,
          found ? 'no bridge' : 'no such interface',
          words.makeBridge(bridge.name),
        ),
      ];
};

export const LINK_LOCAL = /^(fe80:|169\.254\.)/;

/** Interfaces of the host that a network lies on. */
const checkParents = (network: NetworkPlacement, host: Interfaces, words: HostWords): Finding[] => {
  const { bridge, uplinks, mtu, name } = network;
  return uplinks.flatMap((each) => {
    const parent = each.kind === 'there' ? each.interface : each.kind === 'vlan' ? each.parent : undefined;
    if (parent === undefined) return [];
    const found = host.get(parent);
    if (!found) return [problem(`uplink ${parent} of network ${name}`, 'no such interface')];
    const joins = each.kind === 'there';
    const own = found.addresses.filter((text) => !LINK_LOCAL.test(text));
    return [
      ...(joins && found.on !== undefined && found.on !== bridge?.name
        ? [problem(`uplink ${parent} on no other bridge`, found.on, words.leave(found.on, parent))]
        : []),
      ...(mtu !== undefined && found.mtu < mtu
        ? [problem(`uplink ${parent} with an MTU of at least ${mtu}`, String(found.mtu), 'lower mtu in the document')]
        : []),
      ...(joins && words.losesAddresses && own.length > 0 && !network.moved
        ? [
            problem(
              `uplink ${parent} without addresses, at which the host could not be reached any more`,
              own.join(', '),
              'move them to the bridge by moveAddresses: true, or use a bridge that has them: kind external',
            ),
          ]
        : []),
    ];
  });
};

/** What a tunnel's headers take. Source: RFC 7348 */
const HEADER_BYTES = { 4: 50, 6: 70 } as const;

const checkTunnels = ({ uplinks, mtu = 1500, name }: NetworkPlacement, host: Interfaces): Finding[] =>
  uplinks.flatMap((each) => {
    if (each.kind !== 'vxlan') return [];
    const { local, to } = each.tunnel;
    const address = parseAddress(local);
    const found = [...host.values()].find(({ addresses }) =>
      addresses.some((text) => parseInterface(text).address.value === address.value),
    );
    if (!found)
      return [problem(`local address ${local} of network ${name} on an interface of this host`, 'none has it')];
    const most = found.mtu - HEADER_BYTES[address.family];
    return [
      ...(mtu > most
        ? [
            problem(
              `an MTU of at most ${most}, for ${found.name} has ${found.mtu}`,
              String(mtu),
              'lower mtu in the document',
            ),
          ]
        : []),
      ...('device' in to && !host.has(to.device)
        ? [problem(`interface ${to.device} of network ${name}`, 'no such interface')]
        : []),
    ];
  });

/** A host whose two interfaces have one subnet cannot tell where an address is. */
const checkAddresses = ({ addresses, bridge, name }: NetworkPlacement, host: Interfaces): Finding[] =>
  addresses.flatMap((text) => {
    const { subnet } = parseInterface(text);
    const other = [...host.values()].find(
      (each) =>
        each.name !== bridge?.name && each.addresses.some((one) => hasAddress(subnet, parseInterface(one).address)),
    );
    return other
      ? [
          problem(
            `the subnet of ${text}, network ${name}, on no other interface`,
            `${other.name} with ${other.addresses.join(', ')}`,
          ),
        ]
      : [];
  });

/** Why a network cannot be made, before anything is touched. */
export const checkNetworkOn = (network: NetworkPlacement, host: Interfaces, words: HostWords): Finding[] => {
  if (network.trunk) return checkNetworkOn(network.trunk.network, host, words);
  if (network.isGone) return [problem(`network ${network.name}`, 'no such network', 'brig network create FILE')];
  return [
    ...checkNames(network, host, words),
    ...checkExternal(network, host, words),
    ...checkParents(network, host, words),
    ...checkTunnels(network, host),
    ...checkAddresses(network, host),
  ];
};
