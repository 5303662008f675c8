import type { Command, Tolerance } from '../../base/host.ts';
import { wordsOf } from '../../base/words.ts';
import { command } from '../../platform/command.ts';

const PROGRAM = '/sbin/ifconfig';

/** Every interface of the host, or of a jail's vnet. Source: ifconfig(8) "-a", "-j". */
export const listInterfaces = (jail?: string): Command =>
  command(PROGRAM, [...(jail === undefined ? [] : ['-j', jail]), '-a']);

/** Names alone, on one line. What sits in another vnet is not among them (FACTS S.13). */
export const listNames = (): Command => command(PROGRAM, ['-l']);

export const ifconfig = (name: string, ...verbs: readonly string[]): Command => command(PROGRAM, [name, ...verbs]);

export const ifconfigIn = (jail: string, name: string, ...verbs: readonly string[]): Command =>
  command(PROGRAM, ['-j', jail, name, ...verbs]);

/** Seen: `ifconfig: interface web01h does not exist`, exit 1. */
export const NO_INTERFACE: Tolerance = { status: 1, stderr: 'does not exist' };
/** Seen: `ifconfig: SIOCIFCREATE2 (tap7): File exists`. */
export const EXISTS: Tolerance = { status: 1, stderr: 'File exists' };
/** Seen: `ifconfig: BRDGDEL nope0: No such file or directory (errno 2 ...`. The rest varies by release. */
export const NO_MEMBER: Tolerance = { status: 1, stderr: 'BRDGDEL' };

/** One interface as ifconfig(8) prints it. */
export interface Interface {
  readonly name: string;
  /** Names, not digits: those differ between releases. */
  readonly flags: readonly string[];
  readonly description?: string;
  readonly groups: readonly string[];
  readonly members: readonly string[];
  /** Those of them that do not reach each other. */
  readonly privates: readonly string[];
  readonly ether?: string;
  readonly mtu: number;
  /** Shape: `10.77.0.1/24`, `fe80::1/64`; no zone. */
  readonly addresses: readonly string[];
  /** Shape: `100 em0`, tag and parent of a vlan. */
  readonly vlan?: string;
  /** As it is printed: `vni 42 local 192.0.2.1:4789 remote 192.0.2.2:4789`. */
  readonly vxlan?: string;
  /** It keeps VLANs apart. */
  readonly filters: boolean;
  /** The process that has the tap open. */
  readonly openedBy?: number;
}

/** Parses `ifconfig -a`. Unknown lines are passed over: releases add some. */
export const parseInterfaces = (text: string): Interface[] => {
  const blocks = text.split(/^(?=\S)/m).filter((block) => block.trim());
  return blocks.flatMap((block) => {
    const head = /^(\S+): flags=[0-9a-f]+(?:<([^>]*)>)?/.exec(block);
    return head ? [parseBlock(head[1] ?? '', head[2] ?? '', block)] : [];
  });
};

const NONE: readonly string[] = [];
const membersOf = (block: string): string[] => [...block.matchAll(/^\tmember: (\S+)/gm)].map((match) => match[1] ?? '');

const privatesOf = (block: string): string[] =>
  [...block.matchAll(/^\tmember: (\S+) flags=[0-9a-f]+<[^>]*\bPRIVATE\b/gm)].map((match) => match[1] ?? '');

/** `0xffffff00` -> 24 */
const prefixOf = (mask: string): number => Math.clz32(~Number(mask) >>> 0);

const addressesOf = (block: string): string[] => [
  ...[...block.matchAll(/^\tinet (\S+)(?: --> \S+)? netmask (0x[0-9a-f]{8})/gm)].map(
    ([, address = '', mask = '']) => `${address}/${prefixOf(mask)}`,
  ),
  ...[...block.matchAll(/^\tinet6 ([^\s%]+)(?:%\S+)? prefixlen (\d+)/gm)].map(
    ([, address = '', prefix = '']) => `${address}/${prefix}`,
  ),
];

const vlanOf = (block: string): { vlan?: string } => {
  const [, tag, parent] = /^\tvlan: (\d+) .*parent interface: (\S+)$/m.exec(block) ?? [];
  return tag === undefined ? {} : { vlan: `${tag} ${parent}` };
};

const vxlanOf = (block: string): { vxlan?: string } => {
  const vxlan = /^\tvxlan (vni .*)$/m.exec(block)?.[1];
  return vxlan === undefined ? {} : { vxlan };
};

const parseBlock = (name: string, flags: string, block: string): Interface => {
  const description = /^\tdescription: (.*)$/m.exec(block)?.[1];
  const ether = /^\tether (\S+)/m.exec(block)?.[1];
  const openedBy = /^\tOpened by PID (\d+)/m.exec(block)?.[1];
  return {
    name,
    flags: wordsOf(flags, ','),
    groups: wordsOf(/^\tgroups: (.*)$/m.exec(block)?.[1] ?? '', ' '),
    members: block.includes('\tmember: ') ? membersOf(block) : NONE,
    privates: block.includes(',PRIVATE') ? privatesOf(block) : NONE,
    ...(description === undefined ? {} : { description }),
    mtu: Number(/ mtu (\d+)/.exec(block)?.[1] ?? 0),
    addresses: block.includes('\tinet') ? addressesOf(block) : NONE,
    filters: /^\tbridge flags=\d+<[^>]*\bVLANFILTER\b/m.test(block),
    ...vlanOf(block),
    ...vxlanOf(block),
    ...(ether === undefined ? {} : { ether }),
    ...(openedBy === undefined ? {} : { openedBy: Number(openedBy) }),
  };
};
