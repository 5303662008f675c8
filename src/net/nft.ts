import { createHash } from 'node:crypto';
import { parseAddress, type Family } from './address.ts';
import { familyOf, linkLocalOf, ofFamily, plainSubnet, type Allow, type NetworkRules, type NicRules } from './rules.ts';

type Table = 'bridge' | 'inet';

/** Chains and maps that every NIC and network hangs itself on. Adding what is there changes nothing. Source: nft(8) */
const BASE = [
  'add table bridge brig',
  'add set bridge brig nics { type ifname ; }',
  'add map bridge brig from { type ifname : verdict ; }',
  'add map bridge brig to { type ifname : verdict ; }',
  'add map bridge brig back { type ifname : verdict ; }',
  'add chain bridge brig ingress { type filter hook prerouting priority -250 ; policy accept ; }',
  'add chain bridge brig forward { type filter hook forward priority -10 ; policy accept ; }',
  'add table inet brig',
  'add set inet brig guests4 { type ipv4_addr ; flags interval ; }',
  'add set inet brig guests6 { type ipv6_addr ; flags interval ; }',
  'add map inet brig from { type ifname : verdict ; }',
  'add map inet brig to4 { type ipv4_addr : verdict ; flags interval ; }',
  'add map inet brig to6 { type ipv6_addr : verdict ; flags interval ; }',
  'add map inet brig nat4 { type ipv4_addr : verdict ; flags interval ; }',
  'add map inet brig nat6 { type ipv6_addr : verdict ; flags interval ; }',
  ...(['tcp', 'udp'] as const).flatMap((proto) => [
    `add map inet brig ${proto}4 { type inet_service : ipv4_addr . inet_service ; }`,
    `add map inet brig ${proto}6 { type inet_service : ipv6_addr . inet_service ; }`,
  ]),
  'add chain inet brig ingress { type filter hook prerouting priority -150 ; policy accept ; }',
  'add chain inet brig forward { type filter hook forward priority -10 ; policy accept ; }',
  'add chain inet brig inward { type nat hook prerouting priority -100 ; policy accept ; }',
  'add chain inet brig outward { type nat hook postrouting priority 100 ; policy accept ; }',
];

/** What a bridge passes on may be shown to the chains of `inet` too (br_netfilter), which are for what the host routes. */
const BRIDGED = '0x62726967';

/** What the base chains say: always the same, so they are written anew each time. */
const BASE_RULES = [
  'flush chain bridge brig ingress',
  'add rule bridge brig ingress iifname vmap @from',
  'flush chain bridge brig forward',
  `add rule bridge brig forward oifname @nics meta mark set ${BRIDGED}`,
  'add rule bridge brig forward oifname vmap @to',
  'add rule bridge brig forward iifname vmap @back',
  'add rule bridge brig forward iifname @nics oifname @nics drop',
  'flush chain inet brig ingress',
  'add rule inet brig ingress iifname vmap @from',
  'flush chain inet brig forward',
  `add rule inet brig forward meta mark ${BRIDGED} accept`,
  'add rule inet brig forward ct state established,related accept',
  'add rule inet brig forward ip daddr vmap @to4',
  'add rule inet brig forward ip6 daddr vmap @to6',
  'flush chain inet brig inward',
  'add rule inet brig inward fib daddr type local dnat ip to tcp dport map @tcp4',
  'add rule inet brig inward fib daddr type local dnat ip to udp dport map @udp4',
  'add rule inet brig inward fib daddr type local dnat ip6 to tcp dport map @tcp6',
  'add rule inet brig inward fib daddr type local dnat ip6 to udp dport map @udp6',
  'flush chain inet brig outward',
  'add rule inet brig outward ip saddr vmap @nat4',
  'add rule inet brig outward ip6 saddr vmap @nat6',
];

/** Answers of connections that a guest began cannot be told from others on a bridge: what begins none passes. */
const ANSWERS = [
  'add chain bridge brig answers',
  'flush chain bridge brig answers',
  'add rule bridge brig answers tcp flags & (syn | ack) != syn accept',
  'add rule bridge brig answers udp dport 1024-65535 accept',
  'add rule bridge brig answers drop',
];

const toText = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join('');

/** The table without any NIC. */
export const baseText = (): string => toText([...BASE, ...ANSWERS, ...BASE_RULES]);

/** Nothing of it. */
export const noTableText = (): string =>
  toText(['bridge', 'inet'].flatMap((family) => [`add table ${family} brig`, `delete table ${family} brig`]));

/** A chain with its rules, and what of the base leads to it. */
interface Part {
  readonly table: Table;
  readonly chain: string;
  readonly rules: readonly string[];
  /** Shape: `MAP { KEY : jump CHAIN }`, `SET { KEY }` */
  readonly elements: readonly string[];
  /** Sets that it needs beside the base's. */
  readonly sets?: readonly string[];
}

const stampOf = ({ rules }: Part): string => createHash('sha256').update(rules.join('\n')).digest('hex').slice(0, 16);

const addPart = (part: Part): string[] => {
  const { table, chain, rules, elements, sets = [] } = part;
  return [
    `add chain ${table} brig ${chain}`,
    `flush chain ${table} brig ${chain}`,
    ...sets.map((set) => `add set ${table} brig ${set}`),
    ...rules.map((rule, i) => `add rule ${table} brig ${chain} ${rule}${i === 0 ? ` comment "${stampOf(part)}"` : ''}`),
    ...elements.map((element) => `add element ${table} brig ${element}`),
  ];
};

/** Adding before deleting makes absence no error. */
const removePart = ({ table, chain, elements, sets = [] }: Part): string[] => [
  `add chain ${table} brig ${chain}`,
  ...sets.map((set) => `add set ${table} brig ${set}`),
  ...elements.flatMap((element) => [
    `add element ${table} brig ${element}`,
    `delete element ${table} brig ${element.replace(/ : .* }$/, ' }')}`,
  ]),
  `flush chain ${table} brig ${chain}`,
  `delete chain ${table} brig ${chain}`,
];

const ipWord = (family: Family): string => (family === 4 ? 'ip' : 'ip6');
const set = (texts: readonly string[]): string => `{ ${texts.join(', ')} }`;
/** As a number of 128 bits. */
const hexOf = (address: string): string => `0x${parseAddress(address).value.toString(16).padStart(32, '0')}`;

const FAMILIES = [4, 6] as const;

/** What nobody but the network's router says, on a bridge and on a link of its own. */
const IMPOSTURES = [
  'udp sport { 67, 547 } drop',
  'icmp type redirect drop',
  'icmpv6 type { nd-router-advert, nd-redirect } drop',
];

/** How a guest without an address asks for one, and whether its own is free. */
const BEGINNINGS = [
  'ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 return',
  'ip6 saddr :: icmpv6 type { nd-neighbor-solicit, nd-router-solicit, mld2-listener-report } return',
];

const sourcesOf = ({ sources, mac }: NicRules): Record<Family, string[]> => ({
  4: ofFamily(sources, 4).map(plainSubnet),
  6: [...ofFamily(sources, 6).map(plainSubnet), linkLocalOf(mac)],
});

const notFrom = (sources: readonly string[], family: Family): string =>
  sources.length === 0 ? `meta protocol ${ipWord(family)} drop` : `${ipWord(family)} saddr != ${set(sources)} drop`;

/** ARP and neighbour discovery speak of the guest's own addresses only. */
const neighbourRules = ({ mac }: NicRules, own: Record<Family, string[]>): string[] => [
  `ether saddr != ${mac} drop`,
  'ether type != { ip, ip6, arp } drop',
  `arp saddr ether != ${mac} drop`,
  `arp saddr ip != ${set(['0.0.0.0', ...own[4]])} drop`,
  'ether type arp return',
  ...own[6]
    .filter((each) => !each.includes('/'))
    .map((each) => `icmpv6 type nd-neighbor-advert @th,64,128 ${hexOf(each)} return`),
  'icmpv6 type nd-neighbor-advert drop',
];

const fromRules = (nic: NicRules, isBridged: boolean): string[] => {
  const own = sourcesOf(nic);
  return [
    ...(isBridged ? neighbourRules(nic, own) : []),
    ...BEGINNINGS,
    ...IMPOSTURES,
    ...FAMILIES.map((family) => notFrom(own[family], family)),
  ];
};

const portsOf = ({ ports }: Allow): string =>
  ports ? (ports[0] === ports[1] ? String(ports[0]) : `${ports[0]}-${ports[1]}`) : '0-65535';

/** One line for each address that may; `way`: to the guest, or the answers. */
const allowRules = (allow: Allow, way: 'to' | 'back'): string[] => {
  const end = way === 'to' ? 'saddr' : 'daddr';
  const port = way === 'to' ? 'dport' : 'sport';
  const what = (family: Family): string => {
    if (allow.proto === 'icmp') return family === 4 ? 'meta l4proto icmp ' : 'meta l4proto ipv6-icmp ';
    if (allow.proto === 'any') return '';
    // Answers begin no connection.
    const isAnswer = way === 'back' && allow.proto === 'tcp' ? ' tcp flags & (syn | ack) != syn' : '';
    return `${allow.proto} ${port} ${portsOf(allow)}${isAnswer} `;
  };
  const froms = allow.from ?? ['0.0.0.0/0', '::/0'];
  return froms.map((from) => `${ipWord(familyOf(from))} ${end} ${plainSubnet(from)} ${what(familyOf(from))}accept`);
};

/** Who is allowed to send must find the guest, and be found. */
const findRules = ({ from = ['0.0.0.0/0', '::/0'] }: Allow, way: 'to' | 'back'): string[] => [
  ...ofFamily(from, 4).map((each) => `arp ${way === 'to' ? 'saddr' : 'daddr'} ip ${plainSubnet(each)} accept`),
  ...(ofFamily(from, 6).length > 0 ? ['icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept'] : []),
];

const byOwner = ({ owner, isolation }: NicRules): string | undefined => (isolation === 'owner' ? owner : undefined);

/** On a bridge the interface says who sends. What is not decided here is for who sends to say, and is dropped then. */
const bridgeTo = (nic: NicRules): string[] => {
  const { allow, isolation } = nic;
  const owner = byOwner(nic);
  const lines = (allow ?? []).flatMap((each) => [...findRules(each, 'to'), ...allowRules(each, 'to')]);
  return [
    ...(isolation === 'none' ? ['iifname @nics accept'] : []),
    ...(owner === undefined ? [] : [`iifname @owner-${owner} accept`]),
    ...lines,
    ...(allow ? ['iifname != @nics ether type arp accept', 'iifname != @nics meta l4proto ipv6-icmp accept'] : []),
    allow ? 'iifname != @nics jump answers' : 'iifname != @nics accept',
    'return',
  ];
};

const backRules = ({ allow = [] }: NicRules): string[] => [
  ...allow.flatMap((each) => [...findRules(each, 'back'), ...allowRules(each, 'back')]),
  'return',
];

/** Through the host the address says who sends: the guards hold it to the truth. */
const inetTo = (nic: NicRules): string[] => {
  const { allow, isolation, peers, gateways } = nic;
  const owner = byOwner(nic);
  const of = (family: Family): string[] => [
    ...(owner === undefined ? [] : [`${ipWord(family)} saddr @owner${family}-${owner} accept`]),
    ...(isolation === 'none' ? ofFamily(peers, family).map((peer) => `${ipWord(family)} saddr ${peer} accept`) : []),
    ...ofFamily(gateways, family).map((each) => `${ipWord(family)} saddr ${each} accept`),
  ];
  return [
    'ct status dnat accept',
    ...FAMILIES.flatMap(of),
    ...(allow ?? []).flatMap((each) => allowRules(each, 'to')),
    ...FAMILIES.map((family) => `${ipWord(family)} saddr @guests${family} drop`),
    allow ? 'drop' : 'accept',
  ];
};

/** The forwards of a NIC, as elements of the maps of ports. */
const forwardElements = ({ forwards, addresses }: NicRules): string[] =>
  forwards.flatMap(({ proto, port, to }) =>
    FAMILIES.flatMap((family) => {
      const [address] = ofFamily(addresses, family);
      return address === undefined ? [] : [`${proto}${family} { ${port} : ${address} . ${to} }`];
    }),
  );

/** What a NIC adds to the table; `unit` is its own. */
const partsOf = (nic: NicRules, unit: number, isBridged: boolean): Part[] => {
  const { interface: name } = nic;
  const owner = byOwner(nic);
  // Link-local ones are alike on every link.
  const own = { ...sourcesOf(nic), 6: ofFamily(nic.sources, 6).map(plainSubnet) };
  const jump = (map: string, key: string, chain: string): string => `${map} { ${key} : jump ${chain} }`;
  const from: Part = {
    table: isBridged ? 'bridge' : 'inet',
    chain: `from-${unit}`,
    rules: fromRules(nic, isBridged),
    elements: [jump('from', `"${name}"`, `from-${unit}`)],
  };
  const bridge: Part[] = [
    {
      table: 'bridge',
      chain: `to-${unit}`,
      rules: bridgeTo(nic),
      elements: [
        `nics { "${name}" }`,
        ...(owner === undefined ? [] : [`owner-${owner} { "${name}" }`]),
        jump('to', `"${name}"`, `to-${unit}`),
      ],
      sets: owner === undefined ? [] : [`owner-${owner} { type ifname ; }`],
    },
    {
      table: 'bridge',
      chain: `back-${unit}`,
      rules: backRules(nic),
      elements: [jump('back', `"${name}"`, `back-${unit}`)],
    },
  ];
  const inet: Part = {
    table: 'inet',
    chain: `to-${unit}`,
    rules: inetTo(nic),
    elements: [
      ...FAMILIES.flatMap((family) => [
        ...own[family].map((each) => `guests${family} { ${each} }`),
        ...(owner === undefined ? [] : own[family].map((each) => `owner${family}-${owner} { ${each} }`)),
        ...own[family].map((each) => jump(`to${family}`, each, `to-${unit}`)),
      ]),
      ...forwardElements(nic),
    ],
    sets:
      owner === undefined
        ? []
        : FAMILIES.map((family) => `owner${family}-${owner} { type ipv${family}_addr ; flags interval ; }`),
  };
  return [from, ...(isBridged ? bridge : []), inet];
};

/** Of a NIC on a bridge, or with a link of its own. */
export interface NicPart {
  readonly rules: NicRules;
  readonly unit: number;
  readonly isBridged: boolean;
}

const all = (nics: readonly NicPart[]): Part[] =>
  nics.flatMap(({ rules, unit, isBridged }) => partsOf(rules, unit, isBridged));

const chainOf = ({ table, chain }: Part): string => `add chain ${table} brig ${chain}`;

/**
 * Two transactions: nft(8) 1.0 finds no chain for an element of a map with intervals that the same one makes.
 * What the second does is done as a whole, or not at all.
 */
const inTwo = (parts: readonly Part[], lines: readonly string[]): string[] => [
  toText([...BASE, ...ANSWERS, ...parts.map(chainOf)]),
  toText([...BASE_RULES, ...lines]),
];

/** Transactions that put the rules of a VM's NICs in force, whatever was there of them. */
export const nicsTexts = (nics: readonly NicPart[]): string[] => {
  const parts = all(nics);
  return inTwo(parts, parts.flatMap(addPart));
};

/** Transactions that take them away, whatever is there of them. */
export const noNicsTexts = (nics: readonly NicPart[]): string[] => {
  const parts = all(nics);
  return inTwo(parts, parts.flatMap(removePart));
};

/** Its stamp and how many rules it has. */
const seenAs = (part: Part): [string, string] => [
  `${part.table} ${part.chain}`,
  `${stampOf(part)} ${part.rules.length}`,
];

/** Chains that must be there, with their stamps. Shape: `bridge from-7000` -> `0123456789abcdef 12` */
export const nicChains = (nics: readonly NicPart[]): ReadonlyMap<string, string> => new Map(all(nics).map(seenAs));

const natParts = ({ network, subnets, out, translates }: NetworkRules): Part[] => {
  if (!translates) return [];
  const chain = `nat-${network}`;
  const leaves = subnets.map((subnet) => `${ipWord(familyOf(subnet))} daddr ${subnet} return`);
  const outOf = out === undefined ? '' : `oifname "${out}" `;
  return [
    {
      table: 'inet',
      chain,
      rules: [...leaves, 'ip daddr 224.0.0.0/4 return', 'ip6 daddr ff00::/8 return', `${outOf}masquerade`],
      elements: subnets.map((subnet) => `nat${familyOf(subnet)} { ${subnet} : jump ${chain} }`),
    },
  ];
};

/** Transactions that put a network's translation in force. */
export const networkTexts = (rules: NetworkRules): string[] => inTwo(natParts(rules), natParts(rules).flatMap(addPart));

export const noNetworkTexts = (rules: NetworkRules): string[] =>
  inTwo(natParts(rules), natParts(rules).flatMap(removePart));

export const networkChains = (rules: NetworkRules): ReadonlyMap<string, string> => new Map(natParts(rules).map(seenAs));
