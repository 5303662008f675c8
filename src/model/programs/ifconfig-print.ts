import type { Interface, Member } from '../world.ts';

const FLAGS: readonly (readonly [string, number])[] = [
  ['UP', 0x1],
  ['BROADCAST', 0x2],
  ['LOOPBACK', 0x8],
  ['RUNNING', 0x40],
  ['PROMISC', 0x100],
  ['SIMPLEX', 0x800],
  ['MULTICAST', 0x8000],
  ['LOWER_UP', 0x1000000],
];

const OPTIONS: readonly (readonly [string, number])[] = [
  ['RXCSUM', 0x1],
  ['TXCSUM', 0x2],
  ['VLAN_MTU', 0x8],
  ['VLAN_HWTAGGING', 0x10],
  ['JUMBO_MTU', 0x20],
  ['LINKSTATE', 0x80000],
  ['RXCSUM_IPV6', 0x200000],
  ['TXCSUM_IPV6', 0x400000],
  ['HWSTATS', 0x800000],
  ['MEXTPG', 0x4000000],
];

const CAPABILITIES: Readonly<Record<Interface['kind'], readonly string[]>> = {
  tap: ['LINKSTATE', 'MEXTPG'],
  epair: ['RXCSUM', 'TXCSUM', 'VLAN_MTU', 'VLAN_HWTAGGING', 'RXCSUM_IPV6', 'TXCSUM_IPV6'],
  bridge: ['VLAN_HWTAGGING'],
  vlan: ['LINKSTATE'],
  vxlan: ['JUMBO_MTU', 'LINKSTATE'],
  lo: ['RXCSUM', 'TXCSUM', 'LINKSTATE', 'RXCSUM_IPV6', 'TXCSUM_IPV6'],
  ether: ['VLAN_MTU', 'JUMBO_MTU', 'LINKSTATE', 'HWSTATS'],
  pflog: [],
};

/** A bridge takes these from a member unless every member has them. Recorded: tap and epair in one bridge. */
const SHARED_ONLY = ['TXCSUM', 'TXCSUM_IPV6', 'MEXTPG'];

const bits = (names: readonly string[], table: readonly (readonly [string, number])[]): string => {
  const found = table.filter(([name]) => names.includes(name));
  const sum = found.reduce((total, [, bit]) => total + bit, 0);
  const list = found.map(([name]) => name).join(',');
  return `${sum.toString(16)}${list === '' ? '' : `<${list}>`}`;
};

/** Carrier: an open tap; an epair always; a bridge with one such member. */
const hasCarrier = (each: Interface): boolean => {
  if (each.kind === 'tap') return each.openedBy !== undefined;
  if (each.kind === 'bridge') return each.up && each.members.some((member) => hasCarrier(member.interface));
  return each.kind === 'lo' ? each.up : each.kind !== 'pflog';
};

const isRunning = (each: Interface): boolean => {
  if (each.kind === 'tap') return each.openedBy !== undefined;
  return ['bridge', 'lo', 'vxlan'].includes(each.kind) ? each.up : each.kind !== 'pflog';
};

const flagsOf = (each: Interface): string => {
  if (each.kind === 'pflog') return '0';
  const names = [
    ...(each.up ? ['UP'] : []),
    ...(each.kind === 'lo' ? ['LOOPBACK'] : ['BROADCAST', 'SIMPLEX']),
    ...(isRunning(each) ? ['RUNNING'] : []),
    ...(each.bridge ? ['PROMISC'] : []),
    'MULTICAST',
    ...(hasCarrier(each) ? ['LOWER_UP'] : []),
  ];
  return bits(names, FLAGS);
};

/** What all members of a bridge have of those: asked once for each bridge of a listing. */
type Shared = Map<Interface, readonly string[]>;

const sharedBy = (bridge: Interface, shared: Shared): readonly string[] => {
  const known = shared.get(bridge);
  if (known) return known;
  const all = SHARED_ONLY.filter((name) =>
    bridge.members.every((member) => CAPABILITIES[member.interface.kind].includes(name)),
  );
  shared.set(bridge, all);
  return all;
};

const optionsOf = (each: Interface, shared: Shared): string => {
  const kept = each.bridge ? sharedBy(each.bridge, shared) : SHARED_ONLY;
  return bits(
    CAPABILITIES[each.kind].filter((name) => !SHARED_ONLY.includes(name) || kept.includes(name)),
    OPTIONS,
  );
};

/** unrecorded: in this order. Source: FACTS 5.1 */
const vlansOf = ({ untagged, tagged }: Member): string =>
  `${untagged === undefined ? '' : ` untagged ${untagged}`}${tagged === undefined ? '' : ` tagged ${tagged}`}`;

const memberLines = (member: Member): string[] => {
  const { interface: each, private: isPrivate } = member;
  const flags = isPrivate
    ? '943<LEARNING,DISCOVER,PRIVATE,AUTOEDGE,AUTOPTP>'
    : '143<LEARNING,DISCOVER,AUTOEDGE,AUTOPTP>';
  const cost = each.kind === 'tap' ? 2_000_000 : 2000;
  return [
    `\tmember: ${each.name} flags=${flags}`,
    `\t        port ${each.index} priority 128 path cost ${cost} vlan protocol 802.1q${vlansOf(member)}`,
  ];
};

const bridgeLines = (each: Interface): string[] => [
  '\tid 00:00:00:00:00:00 priority 32768 hellotime 2 fwddelay 15',
  '\tmaxage 20 holdcnt 6 proto rstp maxaddr 2000 timeout 1200',
  `\troot id 00:00:00:00:00:00 priority ${each.up ? 32_768 : 0} ifcost 0 port 0`,
  `\tbridge flags=${each.vlanfilter ? '1<VLANFILTER>' : '0<>'}`,
  ...each.members.flatMap(memberLines),
];

/** Recorded for one that was never up. */
const tunnelLines = ({ kind, tunnel }: Interface): string[] => {
  const id = String(tunnel.id ?? 0);
  if (kind === 'vlan')
    return [`\tvlan: ${id} vlanproto: 802.1q vlanpcp: 0 parent interface: ${tunnel.parent ?? '<none>'}`];
  if (kind !== 'vxlan') return [];
  const { local = '', remote = '', group, port = '4789' } = tunnel;
  // unrecorded: a group, and addresses of IPv6
  const end = (address: string): string => (address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`);
  return [
    `\tvxlan vni ${id} local ${end(local)} ${group === undefined ? `remote ${end(remote)}` : `group ${end(group)}`}`,
  ];
};

const MEDIA: Readonly<Partial<Record<Interface['kind'], string>>> = {
  tap: 'Ethernet 1000baseT <full-duplex>',
  epair: 'Ethernet 10Gbase-T (10Gbase-T <full-duplex>)',
  ether: 'Ethernet autoselect (10Gbase-T <full-duplex>)',
  vlan: 'Ethernet autoselect (10Gbase-T <full-duplex>)',
  vxlan: 'Ethernet autoselect (autoselect <full-duplex>)',
};

const nd6Of = (each: Interface): string | undefined => {
  if (each.kind === 'pflog') return undefined;
  if (each.kind === 'lo') return '21<PERFORMNUD,AUTO_LINKLOCAL>';
  const hasInet6 = each.addresses.some((address) => address.startsWith('inet6'));
  if (each.kind === 'bridge') return hasInet6 ? '1<PERFORMNUD>' : '9<PERFORMNUD,IFDISABLED>';
  return hasInet6 ? '21<PERFORMNUD,AUTO_LINKLOCAL>' : '29<PERFORMNUD,IFDISABLED,AUTO_LINKLOCAL>';
};

const optional = (label: string, text: string | undefined): string[] =>
  text === undefined || text === '' ? [] : [`\t${label}${text}`];

/** One interface in the words and the order of the recordings. */
const render = (each: Interface, shared: Shared): string => {
  const media = MEDIA[each.kind];
  const all = [
    `${each.name}: flags=${flagsOf(each)} metric 0 mtu ${each.mtu}`,
    ...optional('description: ', each.description),
    `\toptions=${optionsOf(each, shared)}`,
    ...optional('ether ', each.ether),
    ...optional('hwaddr ', each.hwaddr === each.ether || each.kind === 'vlan' ? undefined : each.hwaddr),
    ...each.addresses.map((address) => `\t${address}`),
    ...(each.kind === 'bridge' ? bridgeLines(each) : []),
    ...optional('groups: ', each.groups.join(' ')),
    ...tunnelLines(each),
    ...(media === undefined ? [] : [`\tmedia: ${media}`, `\tstatus: ${hasCarrier(each) ? 'active' : 'no carrier'}`]),
    ...optional('nd6 options=', nd6Of(each)),
    ...(each.openedBy === undefined ? [] : [`\tOpened by PID ${each.openedBy}`]),
  ];
  return all.map((line) => `${line}\n`).join('');
};

/** Interfaces as ifconfig(8) lists them. */
export const renderInterfaces = (interfaces: readonly Interface[]): string => {
  const shared: Shared = new Map();
  return interfaces.map((each) => render(each, shared)).join('');
};
