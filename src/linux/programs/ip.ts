import type { Command, Tolerance } from '../../base/host.ts';
import { command } from '../../platform/command.ts';

const PROGRAM = '/usr/sbin/ip';

const inside = (space: string | undefined): readonly string[] => (space === undefined ? [] : ['-n', space]);

/** Runs ip(8) on the host, or in a network namespace. */
export const ip = (args: readonly string[], space?: string): Command => command(PROGRAM, [...inside(space), ...args]);

/** Several changes in one process; the first that fails ends it. Source: ip(8) "-batch". */
export const ipBatch = (lines: readonly string[], space?: string): Command =>
  command(PROGRAM, [...inside(space), '-batch', '-'], { stdin: lines.map((line) => `${line}\n`).join('') });

/** Every interface, with aliases, addresses and what a bridge knows of its ports. */
export const listLinks = (space?: string): Command => ip(['-details', '-json', 'address', 'show'], space);

/** Seen: `Cannot find device "brigv7000"`, exit 1. */
export const NO_LINK: Tolerance = { status: 1, stderr: 'Cannot find device' };
/** Seen: `Cannot open network namespace "brig-web01": No such file or directory`, exit 255 with -n. */
export const NO_SPACE: Tolerance = { status: 255, stderr: 'Cannot open network namespace' };
/** Seen: `Cannot remove namespace file "/run/netns/brig-web01": No such file or directory`, exit 1. */
export const NO_SPACE_FILE: Tolerance = { status: 1, stderr: 'No such file or directory' };

/** Seen: `RTNETLINK answers: File exists`, exit 2. */
export const LINK_EXISTS: Tolerance = { status: 2, stderr: 'File exists' };

/** Where ip-netns(8) keeps its names: a listing costs no process. */
export const NETNS_DIR = '/run/netns';

/** One interface as ip(8) prints it. */
export interface Link {
  readonly name: string;
  readonly up: boolean;
  /** `veth`, `bridge`, `tun`; absent for hardware. */
  readonly kind?: string;
  readonly alias?: string;
  /** Bridge that it is a port of. */
  readonly master?: string;
  /** A bridge port that other isolated ports do not reach. */
  readonly isolated: boolean;
  /** Owner of a tap. */
  readonly user?: number;
  readonly mtu: number;
  /** Shape: `10.77.0.1/24` */
  readonly addresses: readonly string[];
  /** Tag of a VLAN, number of a VXLAN. */
  readonly id?: number;
  /** What a VLAN lies on. */
  readonly parent?: string;
  /** This end of a VXLAN. */
  readonly local?: string;
  /** A bridge that keeps VLANs apart. */
  readonly filters: boolean;
}

interface IpRow {
  ifname: string;
  flags?: string[];
  ifalias?: string;
  master?: string;
  mtu?: number;
  link?: string;
  addr_info?: { local?: string; prefixlen?: number }[];
  linkinfo?: { info_kind?: string; info_data?: Data; info_slave_data?: { isolated?: boolean } };
}

interface Data {
  user?: number | string;
  id?: number;
  local?: string;
  local6?: string;
  vlan_filtering?: number;
}

/** Parses `ip -details -json address show`. A namespace without interfaces prints nothing, not an empty list. */
export const parseLinks = (text: string): Link[] => {
  if (!text.trim()) return [];
  return (JSON.parse(text) as IpRow[]).filter((row) => typeof row.ifname === 'string').map(toLink);
};

/** Without what is undefined. */
const known = <T extends object>(values: { [K in keyof T]: T[K] | undefined }): T =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T;

const toLink = ({ ifname, flags, ifalias, master, mtu, link, addr_info = [], linkinfo = {} }: IpRow): Link => {
  const { user, id, local6, local = local6, vlan_filtering } = linkinfo.info_data ?? {};
  return {
    name: ifname,
    up: flags?.includes('UP') ?? false,
    isolated: linkinfo.info_slave_data?.isolated ?? false,
    mtu: mtu ?? 0,
    addresses: addr_info.map(({ local: own, prefixlen }) => `${own}/${prefixlen}`),
    filters: vlan_filtering === 1,
    ...known<Partial<Link>>({ id, parent: link, local, kind: linkinfo.info_kind, alias: ifalias, master }),
    // A name instead of a number when the host's passwd has the uid.
    ...known<Partial<Link>>({ user: Number.isNaN(Number(user)) ? undefined : Number(user) }),
  };
};

/** Routes of one family. Source: ip-route(8) */
export const listRoutes = (family: '-4' | '-6'): Command => ip([family, '-json', 'route', 'show']);

/** Destinations and interfaces. Shape: `10.9.0.5 brigv7000` */
export const parseRoutes = (text: string): string[] =>
  text.trim() === ''
    ? []
    : (JSON.parse(text) as { dst?: string; dev?: string }[]).map(({ dst, dev }) => `${dst ?? ''} ${dev ?? ''}`);
