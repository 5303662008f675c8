import { parseAddress, renderAddress, type Family } from './address.ts';
import { familyOf } from './rules.ts';
import { parseSubnet } from './subnet.ts';

/** One NIC with addresses: what servers of DHCP and DNS say of it. */
export interface NamedLease {
  /** Of the VM or jail; the first NIC of it has the name alone. */
  readonly name: string;
  readonly nic: number;
  readonly mac: string;
  /** Without prefix lengths. */
  readonly addresses: readonly string[];
}

/** A network with all that is leased on it. */
export interface NamedNetwork {
  readonly name: string;
  /** Its bridge on the host, where a server listens. */
  readonly interface?: string;
  readonly domain: string;
  readonly subnets: readonly { readonly cidr: string; readonly gateway?: string; readonly dns: readonly string[] }[];
  readonly leases: readonly NamedLease[];
}

export type Format = 'dnsmasq' | 'kea' | 'unbound';

const FAMILIES = [4, 6] as const;

const hostOf = ({ name, nic }: NamedLease): string => {
  // A jail's name may have what a name in DNS may not.
  const plain = name
    .replace(/^jail\//, '')
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]+/g, '-');
  return nic === 0 ? plain : `${plain}-${nic}`;
};

const ofFamily = (addresses: readonly string[], family: Family): string[] =>
  addresses.filter((each) => familyOf(each) === family);

const maskOf = (prefix: number): string =>
  renderAddress({ family: 4, value: ((1n << BigInt(prefix)) - 1n) << BigInt(32 - prefix) });

const text = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join('');

const HEAD = '# Written by brig: changes are lost.';

/** dnsmasq(8) knows who is who by MAC address, and gives nobody else an address. */
const dnsmasqNetwork = ({ name, interface: on, domain, subnets, leases }: NamedNetwork): string[] => {
  const ranges = subnets.map(({ cidr }) => {
    const { family, first, prefix } = parseSubnet(cidr);
    const from = renderAddress({ family, value: first });
    return `dhcp-range=set:${name},${from},static,${family === 4 ? maskOf(prefix) : String(prefix)},infinite`;
  });
  const option = (family: Family, word: string, values: readonly string[]): string[] =>
    values.length === 0
      ? []
      : [
          family === 4
            ? `dhcp-option=tag:${name},option:${word},${values.join(',')}`
            : `dhcp-option=tag:${name},option6:${word},${values.map((each) => `[${each}]`).join(',')}`,
        ];
  const options = subnets.flatMap(({ cidr, gateway, dns }) => {
    const family = familyOf(cidr);
    const routers = family === 4 && gateway !== undefined ? [gateway] : [];
    return [...option(4, 'router', routers), ...option(family, 'dns-server', ofFamily(dns, family))];
  });
  const hosts = leases.map((lease) => {
    const all = [...ofFamily(lease.addresses, 4), ...ofFamily(lease.addresses, 6).map((each) => `[${each}]`)];
    return `dhcp-host=${[lease.mac, `set:${name}`, ...all, hostOf(lease), 'infinite'].join(',')}`;
  });
  const records = leases.map((lease) => `host-record=${[`${hostOf(lease)}.${domain}`, ...lease.addresses].join(',')}`);
  return [
    `# network ${name}`,
    ...(on === undefined ? [] : [`interface=${on}`]),
    ...ranges,
    ...options,
    ...hosts,
    ...records,
  ];
};

/** Lines for `conf-file=` of dnsmasq(8). */
export const dnsmasqText = (networks: readonly NamedNetwork[]): string =>
  text([HEAD, ...networks.filter(({ leases }) => leases.length > 0).flatMap(dnsmasqNetwork)]);

/** Lines for `include:` of unbound.conf(5). */
export const unboundText = (networks: readonly NamedNetwork[]): string => {
  const zones = [...new Set(networks.map(({ domain }) => domain))];
  const records = networks.flatMap(({ domain, leases }) =>
    leases.flatMap((lease) =>
      lease.addresses.flatMap((address) => [
        `  local-data: "${hostOf(lease)}.${domain}. IN ${familyOf(address) === 4 ? 'A' : 'AAAA'} ${address}"`,
        `  local-data-ptr: "${address} ${hostOf(lease)}.${domain}."`,
      ]),
    ),
  );
  return text([HEAD, 'server:', ...zones.map((zone) => `  local-zone: "${zone}." transparent`), ...records]);
};

const keaReservation = (lease: NamedLease, family: Family): object[] => {
  const addresses = ofFamily(lease.addresses, family);
  if (addresses.length === 0) return [];
  const own = family === 4 ? { 'ip-address': addresses[0] } : { 'ip-addresses': addresses };
  return [{ 'hw-address': lease.mac, ...own, hostname: hostOf(lease) }];
};

/** The list of subnets of one family, for `<?include?>` of Kea's configuration, as `subnet4` or `subnet6`. */
export const keaText = (networks: readonly NamedNetwork[], family: Family): string => {
  const word = family === 4 ? 'domain-name-servers' : 'dns-servers';
  const all = networks.flatMap(({ interface: on, domain, subnets, leases }) =>
    subnets
      .filter(({ cidr }) => familyOf(cidr) === family)
      .map(({ cidr, gateway, dns }) => ({
        subnet: cidr,
        ...(on === undefined ? {} : { interface: on }),
        'option-data': [
          ...(family === 4 && gateway !== undefined ? [{ name: 'routers', data: gateway }] : []),
          ...(ofFamily(dns, family).length === 0 ? [] : [{ name: word, data: ofFamily(dns, family).join(', ') }]),
          ...(family === 4 ? [{ name: 'domain-name', data: domain }] : []),
        ],
        reservations: leases
          .map((lease) => ({ ...lease, addresses: lease.addresses.filter((each) => isIn(each, cidr)) }))
          .flatMap((lease) => keaReservation(lease, family)),
      })),
  );
  return `${JSON.stringify(
    all.map((each, i) => ({ id: i + 1, ...each })),
    undefined,
    2,
  )}\n`;
};

const isIn = (address: string, cidr: string): boolean => {
  const { family, first, prefix } = parseSubnet(cidr);
  const { family: own, value } = parseAddress(address);
  const shift = BigInt((family === 4 ? 32 : 128) - prefix);
  return own === family && value >> shift === first >> shift;
};

/** Files of a format, by name. */
export const leaseFiles = (format: Format, networks: readonly NamedNetwork[]): Readonly<Record<string, string>> => {
  if (format === 'dnsmasq') return { 'dnsmasq.conf': dnsmasqText(networks) };
  if (format === 'unbound') return { 'unbound.conf': unboundText(networks) };
  return Object.fromEntries(FAMILIES.map((family) => [`kea-subnet${family}.json`, keaText(networks, family)]));
};
