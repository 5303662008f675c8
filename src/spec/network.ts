import { z } from 'zod';
import { BrigError } from '../base/errors.ts';
import { parseAddress, renderAddress, type Address } from '../net/address.ts';
import {
  contains,
  hasAddress,
  overlap,
  parseRange,
  parseSubnet,
  rangeOf,
  renderSubnet,
  reserved,
  type Range,
  type Subnet,
} from '../net/subnet.ts';
import { parseWith } from './document.ts';
import { count, expected, labels, name, owner } from './fields.ts';

type Context = z.core.$RefinementCtx;

const IFNAMSIZ = 16;
/** What if_nametoindex(3) takes and no program reads as an option or as syntax. */
export const interfaceName = z
  .string(expected('an interface name'))
  .regex(/^[A-Za-z][A-Za-z0-9._-]*$/, expected('an interface name of letters, digits and ._-, beginning with a letter'))
  .max(IFNAMSIZ - 1, expected(`an interface name of at most ${IFNAMSIZ - 1} characters`));

/** A text that one of room net reads; comes out as it was. */
const textOf = (read: (text: string) => unknown, what: string) =>
  z.string(expected(what)).superRefine((text, context) => {
    try {
      read(text);
    } catch (error) {
      const message = error instanceof BrigError ? error.message.replace(/, got [^,]*$/, '') : `expected ${what}`;
      // What looks at the whole reads it again.
      context.addIssue({ code: 'custom', message, continue: false });
    }
  });

const address = textOf(parseAddress, 'an IP address');
const cidr = textOf(parseSubnet, 'a subnet such as 10.77.0.0/24');
const range = textOf(parseRange, 'a range such as 10.77.0.10-10.77.0.99');
const mac = z
  .string(expected('a MAC address'))
  .toLowerCase()
  .regex(/^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/, expected('a unicast MAC address like 58:9c:fc:01:02:03'));

const reservation = z.union(
  [
    // `owner`: for that owner's VM alone; without it for whoever has the name.
    z.strictObject({ address, vm: name, owner: owner.optional(), nic: count(0, 7).default(0) }),
    z.strictObject({ address, mac }),
    z.strictObject({ address, jail: z.string().min(1).max(63) }),
  ],
  expected('{address, vm}, {address, jail} or {address, mac}'),
);

const subnet = z.strictObject({
  cidr,
  /** The router's address. Where the host routes: its own, and the first of the subnet by default. */
  gateway: address.optional(),
  /** What is given without being asked for by number; absent: all that is left. */
  ranges: z.array(range).max(64).default([]),
  exclude: z.array(range).max(256).default([]),
  reservations: z.array(reservation).max(4096).default([]),
  dns: z.array(address).max(8).default([]),
});

/** Each NIC gets a block of this size, routed to its address. */
const delegation = z.strictObject({ cidr, prefix: count(1, 128).default(64) });

const common = {
  name,
  /** Networks of one group do not overlap. */
  group: name.default('default'),
  labels,
  /** Name of the interface on the host; absent: bridgeN. */
  interface: interfaceName.optional(),
  mtu: count(576, 65_535).optional(),
  subnets: z.array(subnet).max(16).default([]),
  delegate: z.array(delegation).max(4).default([]),
  domain: z
    .string()
    .regex(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/, expected('a domain name'))
    .max(253)
    .optional(),
  /** Stays although nobody uses it. */
  persistent: z.boolean().default(false),
  /** Who reaches whom on it: no VM any other, those of one owner each other, or all. */
  isolation: z.enum(['vm', 'owner', 'none']).default('owner'),
  /** Guests send from their own addresses only. Absent: where the network has subnets. */
  guard: z.boolean().optional(),
};

const vni = count(1, 0xffffff);
const port = count(1, 65_535);

const network = z.discriminatedUnion(
  'kind',
  [
    z.strictObject({
      kind: z.literal('bridge'),
      ...common,
      uplinks: z.array(interfaceName).max(16).default([]),
      /** The uplink's addresses and routes are the bridge's while the network is there: the host stays reachable. */
      moveAddresses: z.boolean().default(false),
      /** What was moved: brig writes it down, for it must be given back. */
      moved: z
        .strictObject({
          addresses: z.array(z.string()),
          routes: z.array(z.strictObject({ to: z.string(), via: z.string() })),
        })
        .optional(),
      /** It keeps VLANs apart: networks of kind vlan are on it, and no NIC directly. FreeBSD 15. */
      aware: z.boolean().default(false),
    }),
    z.strictObject({
      kind: z.literal('vlan'),
      ...common,
      /** An interface of the host, or a network of kind bridge that keeps VLANs apart. */
      uplink: interfaceName.optional(),
      trunk: name.optional(),
      tag: count(1, 4094),
    }),
    z.strictObject({
      kind: z.literal('vxlan'),
      ...common,
      vni,
      local: address,
      /** One other end, or a group that all ends hear. */
      remote: address.optional(),
      multicast: z.strictObject({ address, device: interfaceName }).optional(),
      port: port.default(4789),
    }),
    z.strictObject({
      kind: z.literal('routed'),
      ...common,
      /** Of the link between the host and each VM: 32 and 128 are routes to a host. */
      prefix4: z.union([z.literal(30), z.literal(31), z.literal(32)], expected('30, 31 or 32')).default(31),
      prefix6: z.union([z.literal(127), z.literal(128)], expected('127 or 128')).default(127),
    }),
    z.strictObject({
      kind: z.literal('nat'),
      ...common,
      /** Whose address the world sees; absent: the interface of the default route. */
      out: interfaceName.optional(),
    }),
    z.strictObject({ kind: z.literal('external'), ...common, bridge: interfaceName }),
  ],
  expected('bridge, vlan, vxlan, routed, nat or external'),
);

type Network = z.output<typeof network>;

const problem =
  (context: Context, at: readonly PropertyKey[]) =>
  (path: readonly PropertyKey[], what: string): void =>
    context.addIssue({ code: 'custom', path: [...at, ...path], message: `expected ${what}` });

const one = ({ family, value }: Address): Range => ({ family, first: value, last: value });

/** Kinds whose subnets the host itself is the router of. */
const ROUTES: ReadonlySet<Network['kind']> = new Set(['nat', 'routed']);

const checkSubnet = (each: z.output<typeof subnet>, tell: ReturnType<typeof problem>): void => {
  const whole = parseSubnet(each.cidr);
  const within = `within ${each.cidr}`;
  const bounds = rangeOf(whole);
  if (each.gateway !== undefined) {
    const gateway = parseAddress(each.gateway);
    if (!hasAddress(whole, gateway)) tell(['gateway'], `an address ${within}`);
    else if (reserved(whole).some((kept) => overlap(kept, one(gateway))))
      tell(['gateway'], `an address that a host may have, not the network's own or its broadcast address`);
  }
  for (const key of ['ranges', 'exclude'] as const)
    each[key].forEach((text, i) => {
      if (!contains(bounds, parseRange(text))) tell([key, i], `a range ${within}`);
    });
  const seen = new Set<string>();
  each.reservations.forEach((kept, i) => {
    const wanted = parseAddress(kept.address);
    const text = renderAddress(wanted);
    if (!hasAddress(whole, wanted)) tell(['reservations', i, 'address'], `an address ${within}`);
    else if (text === gatewayOf(each)) tell(['reservations', i, 'address'], 'an address that is not the gateway');
    if (seen.has(text)) tell(['reservations', i, 'address'], 'each address once');
    seen.add(text);
  });
};

const gatewayOf = ({ gateway }: { readonly gateway?: string | undefined }): string | undefined =>
  gateway === undefined ? undefined : renderAddress(parseAddress(gateway));

const checkOverlaps = (spec: Network, tell: ReturnType<typeof problem>): void => {
  const blocks: { readonly path: readonly PropertyKey[]; readonly subnet: Subnet }[] = [
    ...spec.subnets.map((each, i) => ({ path: ['subnets', i, 'cidr'], subnet: parseSubnet(each.cidr) })),
    ...spec.delegate.map((each, i) => ({ path: ['delegate', i, 'cidr'], subnet: parseSubnet(each.cidr) })),
  ];
  blocks.forEach(({ path, subnet: own }, i) => {
    const other = blocks.slice(0, i).find((before) => overlap(rangeOf(before.subnet), rangeOf(own)));
    if (other) tell(path, `a subnet that does not overlap ${renderSubnet(other.subnet)}`);
  });
};

const checkMove = (spec: Extract<Network, { kind: 'bridge' }>, tell: ReturnType<typeof problem>): void => {
  const { moveAddresses, uplinks, persistent, aware } = spec;
  if (!moveAddresses) return;
  if (uplinks.length !== 1) tell(['uplinks'], 'one uplink, whose addresses are moved');
  if (!persistent) tell(['persistent'], 'true, for addresses do not come and go with VMs');
  if (aware) tell(['aware'], 'false, for the host has its addresses on the bridge');
};

const checkKind = (spec: Network, tell: ReturnType<typeof problem>): void => {
  if (ROUTES.has(spec.kind) && spec.subnets.length === 0) tell(['subnets'], 'at least one, for the host is the router');
  if (spec.kind === 'vlan' && (spec.uplink === undefined) === (spec.trunk === undefined))
    tell([], 'one of uplink and trunk');
  if (spec.kind === 'vlan' && spec.trunk !== undefined && spec.interface !== undefined)
    tell(['interface'], 'none, for the interface is that of the trunk');
  if (spec.kind === 'bridge') checkMove(spec, tell);
  if (spec.kind !== 'vxlan') return;
  if ((spec.remote === undefined) === (spec.multicast === undefined)) tell([], 'one of remote and multicast');
  const local = parseAddress(spec.local);
  for (const [key, text] of [
    ['remote', spec.remote],
    ['multicast', spec.multicast?.address],
  ] as const)
    if (text !== undefined && parseAddress(text).family !== local.family)
      tell([key], `an address of IPv${local.family}, as local is`);
};

const LEAST_IPV6_MTU = 1280;

export const networkDocument = network.superRefine((spec, context) => {
  const tell = problem(context, []);
  spec.subnets.forEach((each, i) => checkSubnet(each, problem(context, ['subnets', i])));
  spec.delegate.forEach((each, i) => {
    const block = parseSubnet(each.cidr);
    if (each.prefix < block.prefix || each.prefix > (block.family === 4 ? 32 : 128))
      tell(['delegate', i, 'prefix'], `a prefix length from ${block.prefix} to ${block.family === 4 ? 32 : 128}`);
  });
  checkOverlaps(spec, tell);
  checkKind(spec, tell);
  const hasIpv6 = spec.subnets.some((each) => each.cidr.includes(':'));
  if (spec.mtu !== undefined && spec.mtu < LEAST_IPV6_MTU && hasIpv6)
    tell(['mtu'], `at least ${LEAST_IPV6_MTU}, which IPv6 needs`);
});

/** A network as its document says, defaults filled in. Source: docs/brig-network.7 */
export type NetworkSpec = Network;

/** Errors: spec.invalid with every problem at once. */
export const parseNetwork = (value: unknown, source = 'document'): NetworkSpec =>
  parseWith(networkDocument, value, source, 'spec.invalid');

/** Whether the host is the router of its subnets. */
export const isRouter = ({ kind }: NetworkSpec): boolean => ROUTES.has(kind);

/** Whether guests send from their own addresses only, and reach each other by the network's rules. */
export const guards = ({ guard, subnets }: NetworkSpec): boolean => guard ?? subnets.length > 0;

/** In one group two networks never mean two things by one address. */
export const overlapping = (
  a: NetworkSpec,
  b: NetworkSpec,
): { readonly own: string; readonly other: string } | undefined => {
  if (a.group !== b.group) return undefined;
  const blocks = (spec: NetworkSpec): string[] => [...spec.subnets, ...spec.delegate].map((each) => each.cidr);
  for (const own of blocks(a))
    for (const other of blocks(b))
      if (overlap(rangeOf(parseSubnet(own)), rangeOf(parseSubnet(other)))) return { own, other };
  return undefined;
};
