import type { Command, Tolerance } from '../../base/host.ts';
import { command } from '../../platform/command.ts';

const PROGRAM = '/usr/sbin/ip';

const inside = (space: string | undefined): readonly string[] => (space === undefined ? [] : ['-n', space]);

/** Runs ip(8) on the host, or in a network namespace. */
export const ip = (args: readonly string[], space?: string): Command => command(PROGRAM, [...inside(space), ...args]);

/** Several changes in one process; the first that fails ends it. Source: ip(8) "-batch". */
export const ipBatch = (lines: readonly string[], space?: string): Command =>
  command(PROGRAM, [...inside(space), '-batch', '-'], { stdin: lines.map((line) => `${line}\n`).join('') });

/** Every interface, with aliases and what a bridge knows of its ports. */
export const listLinks = (space?: string): Command => ip(['-details', '-json', 'link', 'show'], space);

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
}

interface IpRow {
  ifname: string;
  flags?: string[];
  ifalias?: string;
  master?: string;
  linkinfo?: { info_kind?: string; info_data?: { user?: number | string }; info_slave_data?: { isolated?: boolean } };
}

/** Parses `ip -details -json link show`. A namespace without interfaces prints nothing, not an empty list. */
export const parseLinks = (text: string): Link[] => {
  if (!text.trim()) return [];
  return (JSON.parse(text) as IpRow[]).filter((row) => typeof row.ifname === 'string').map(toLink);
};

const toLink = ({ ifname, flags, ifalias, master, linkinfo }: IpRow): Link => {
  const user = linkinfo?.info_data?.user;
  return {
    name: ifname,
    up: flags?.includes('UP') ?? false,
    isolated: linkinfo?.info_slave_data?.isolated ?? false,
    ...(linkinfo?.info_kind === undefined ? {} : { kind: linkinfo.info_kind }),
    ...(ifalias === undefined ? {} : { alias: ifalias }),
    ...(master === undefined ? {} : { master }),
    // A name instead of a number when the host's passwd has the uid.
    ...(user === undefined || Number.isNaN(Number(user)) ? {} : { user: Number(user) }),
  };
};
