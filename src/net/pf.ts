import { createHash } from 'node:crypto';
import type { Family } from './address.ts';
import { familyOf, linkLocalOf, ofFamily, plainSubnet, type Allow, type NetworkRules, type NicRules } from './rules.ts';

/** What the rules of a release can say, and where the host's world is. */
export interface PfHost {
  /** Interface group of everything that brig makes. */
  readonly group: string;
  /** Of those where packets of guests come in. */
  readonly guests: string;
  /** Rules know where a packet came in: pf.conf(5) "received-on". */
  readonly hears: boolean;
  /** The interface that the world sees. */
  readonly out: string;
}

/** A NIC on a bridge, or with a link of its own. */
export interface PfNic extends NicRules {
  readonly isBridged: boolean;
  /** The bridge, where the host is the network's router. */
  readonly bridge?: string;
}

const FAMILIES = [4, 6] as const;
const word = (family: Family): string => (family === 4 ? 'inet' : 'inet6');

/** Packets of one owner's guests carry it from the moment they come in. At most 63 characters. Source: pf.conf(5) "tag" */
const tagOf = ({ owner, mac }: NicRules): string =>
  owner === undefined ? `brig_nic_${mac.replaceAll(':', '')}` : `brig_owner_${owner}`;

/** Packets that a port of the host led in. */
const FORWARDED = 'brig_forward';

/** What nobody but the network's router says, and what a guest without an address has no need to say. */
const imposturesOn = (nic: string): string[] => [
  `block in quick on ${nic} inet proto udp from any port 67 to any`,
  `block in quick on ${nic} inet6 proto udp from any port 547 to any`,
  `block in quick on ${nic} inet proto icmp all icmp-type redir`,
  `block in quick on ${nic} inet6 proto icmp6 all icmp6-type routeradv`,
  `block in quick on ${nic} inet6 proto icmp6 all icmp6-type redir`,
  `block in quick on ${nic} inet from 0.0.0.0 to ! 255.255.255.255`,
  `block in quick on ${nic} inet6 proto tcp from :: to any`,
  `block in quick on ${nic} inet6 proto udp from :: to any`,
];

/** With the addresses of one that asks for an address, or whether its own is free. */
const ownOf = ({ sources, mac }: NicRules): Record<Family, string[]> => {
  const four = ofFamily(sources, 4).map(plainSubnet);
  return {
    4: four.length === 0 ? [] : [...four, '0.0.0.0'],
    6: [...ofFamily(sources, 6).map(plainSubnet), linkLocalOf(mac), '::'],
  };
};

const PORTS: Readonly<Record<Allow['proto'], string>> = { tcp: ' proto tcp', udp: ' proto udp', icmp: '', any: '' };

/** ICMP has another name in each family. */
const protoOf = ({ proto }: Allow, family: Family): string =>
  proto === 'icmp' ? ` proto ${family === 4 ? 'icmp' : 'icmp6'}` : PORTS[proto];

const portsOf = ({ ports }: Allow): string => {
  if (!ports) return '';
  return ports[0] === ports[1] ? ` port ${ports[0]}` : ` port ${ports[0]}:${ports[1]}`;
};

/** pf reads blanks around the dash of a range. */
const rangeText = (text: string): string => text.replace('-', ' - ');

/** Where packets leave towards the guest, and how its addresses are called there. */
interface Place {
  readonly on: string;
  readonly to: Readonly<Record<Family, string>>;
  readonly isSegment: boolean;
}

const ANY = { 4: 'any', 6: 'any' } as const;

const tableOf = (index: number, family: Family): string => `<own${index}v${family}>`;

const placesOf = (nic: PfNic, index: number): Place[] => [
  { on: nic.interface, to: ANY, isSegment: nic.isBridged },
  // What the host sends over a bridge is filtered at the bridge alone.
  ...(nic.bridge === undefined
    ? []
    : [{ on: nic.bridge, to: { 4: tableOf(index, 4), 6: tableOf(index, 6) }, isSegment: false }]),
];

/** Guests of the same owner, where the network lets them: by what their packets carry. */
const exceptOf = (nic: NicRules): string =>
  nic.isolation === 'owner' && nic.owner !== undefined ? ` ! tagged ${tagOf(nic)}` : '';

const passes = ({ on, to, isSegment }: Place, nic: PfNic): string[] => {
  const { gateways, allow = [], isolation, peers } = nic;
  const pass = (family: Family, from: string, proto = '', end = ''): string =>
    `pass out quick on ${on} ${word(family)}${proto} from ${from} to ${to[family]}${end}`;
  return [
    ...gateways.map((gateway) => pass(familyOf(gateway), gateway)),
    ...allow.flatMap((each) =>
      (each.from ?? ['any4', 'any6']).map((from) => {
        const family = from === 'any4' ? 4 : from === 'any6' ? 6 : familyOf(from);
        return pass(family, from.startsWith('any') ? 'any' : plainSubnet(from), protoOf(each, family), portsOf(each));
      }),
    ),
    // Who is allowed to send must find the guest.
    ...(isSegment && nic.allow
      ? ['neighbrsol', 'neighbradv'].map((type) => pass(6, 'any', ' proto icmp6', ` icmp6-type ${type}`))
      : []),
    ...(isolation === 'none' && !isSegment ? peers.map((peer) => pass(familyOf(peer), rangeText(peer))) : []),
  ];
};

/** Other guests; where no rule can say that, those whose addresses are in the network. */
const strangers = ({ on, to, isSegment }: Place, nic: PfNic, { guests, hears }: PfHost): string[] => {
  if (isSegment && nic.isolation === 'none') return [];
  const block = (family: Family, from: string, end: string): string =>
    `block out quick on ${on} ${word(family)} from ${from} to ${to[family]}${end}${exceptOf(nic)}`;
  return hears
    ? FAMILIES.map((family) => block(family, 'any', ` received-on ${guests}`))
    : nic.peers.map((peer) => block(familyOf(peer), rangeText(peer), ''));
};

const outLines = (place: Place, nic: PfNic, host: PfHost): string[] => {
  const { on, to, isSegment } = place;
  const others = FAMILIES.map(
    (family) => `block out quick on ${on} ${word(family)} from any to ${to[family]}${exceptOf(nic)}`,
  );
  return [
    ...(isSegment ? [] : forwardPasses(on, nic)),
    ...passes(place, nic),
    ...strangers(place, nic, host),
    ...(nic.allow ? others : []),
  ];
};

const inLines = (nic: PfNic, index: number, own: Record<Family, string[]>): string[] => [
  ...imposturesOn(nic.interface),
  ...FAMILIES.map(
    (family) =>
      `block in quick on ${nic.interface} ${word(family)} ${own[family].length === 0 ? 'all' : `from ! ${tableOf(index, family)} to any`}`,
  ),
  ...FAMILIES.map((family) => `pass in on ${nic.interface} ${word(family)} all tag ${tagOf(nic)}`),
  // A state at the bridge, too, by which answers are known.
  ...(nic.bridge !== undefined && nic.allow
    ? FAMILIES.map(
        (family) =>
          `pass in on ${nic.bridge ?? ''} ${word(family)} from ${tableOf(index, family)} to any tag ${tagOf(nic)}`,
      )
    : []),
];

/** The address of each family that ports lead to. */
const forwardEnds = ({ forwards, addresses }: NicRules) =>
  forwards.flatMap((each) =>
    FAMILIES.flatMap((family) => {
      const [address] = ofFamily(addresses, family);
      return address === undefined ? [] : [{ ...each, family, address }];
    }),
  );

const forwardPasses = (on: string, nic: NicRules): string[] =>
  forwardEnds(nic).map(
    ({ family, proto, address, to }) =>
      `pass out quick on ${on} ${word(family)} proto ${proto} from any to ${address} port ${to} tagged ${FORWARDED}`,
  );

/** Where ports of the host lead, whichever of its addresses is asked; guests of brig's are no part of the world. */
const forwardLines = (nic: NicRules, { group }: PfHost): string[] =>
  forwardEnds(nic).map(
    ({ family, proto, port, address, to }) =>
      `rdr pass on ! ${group} ${word(family)} proto ${proto} from any to (self) port ${port} tag ${FORWARDED} -> ${address} port ${to}`,
  );

const tableLines = (own: Record<Family, string[]>, index: number): string[] =>
  FAMILIES.flatMap((family) =>
    own[family].length === 0 ? [] : [`table ${tableOf(index, family)} const { ${own[family].join(', ')} }`],
  );

/** What is loaded into an anchor: tables, then translation, then filter rules, of which each says which text it is of. */
const toText = (tables: readonly string[], translations: readonly string[], filters: readonly string[]): string => {
  const all = [...tables, ...translations, ...filters];
  const stamp = createHash('sha256').update(all.join('\n')).digest('hex').slice(0, 16);
  const labelled = filters.map((line) => `${line} label "brig:${stamp}"`);
  return [...tables, ...translations, ...labelled].map((line) => `${line}\n`).join('');
};

/**
 * Rules of a VM's anchor `brig/NAME`: one rule a line, none that pfctl(8) takes apart.
 * What a rule blocks here stays blocked whatever other anchors say. What a guest sends may still be blocked by the main
 * ruleset; what its document lets in passes at once.
 * Source: pf.conf(5)
 */
export const vmAnchor = (nics: readonly PfNic[], host: PfHost): string => {
  const owns = nics.map(ownOf);
  return toText(
    owns.flatMap(tableLines),
    nics.flatMap((nic) => forwardLines(nic, host)),
    nics.flatMap((nic, i) => [
      ...inLines(nic, i, owns[i] ?? { 4: [], 6: [] }),
      ...placesOf(nic, i).flatMap((place) => outLines(place, nic, host)),
    ]),
  );
};

/**
 * Rules of a network's anchor `brig/net.NAME`: what leaves is translated. Where no rule can say where a packet came in,
 * no guest of another network comes in through the host, whoever owns it.
 */
export const networkAnchor = ({ subnets, translates, out }: NetworkRules, host: PfHost): string => {
  const at = out ?? host.out;
  // The first address of each family, and no link-local one.
  const nat = (subnet: string): string => `nat on ${at} ${word(familyOf(subnet))} from ${subnet} to any -> (${at}:0)`;
  const block = (subnet: string): string =>
    `block in quick on ${host.guests} ${word(familyOf(subnet))} from ! ${subnet} to ${subnet}`;
  return toText([], translates ? subnets.map(nat) : [], host.hears ? [] : subnets.map(block));
};

const count = (lines: readonly string[], pattern: RegExp): number => lines.filter((line) => pattern.test(line)).length;

/** What the filter rules of a text are labelled with. Shape: `brig:0123456789abcdef` */
export const labelOf = (text: string): string | undefined => / label "(brig:[0-9a-f]+)"/.exec(text)?.[1];

/** Which text, and how many rules of it: of a text, and of what pfctl(8) shows of it. Shape: `0123456789abcdef 12 2` */
export const stampOf = (text: string): string => {
  const lines = text.split('\n');
  const stamp = /label "brig:([0-9a-f]+)"/.exec(text)?.[1] ?? '-';
  return `${stamp} ${count(lines, /^(block|pass) /)} ${count(lines, /^(nat|rdr) /)}`;
};
