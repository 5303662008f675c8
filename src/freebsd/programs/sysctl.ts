import type { Command } from '../../base/host.ts';
import { command } from '../../platform/command.ts';

/** That the host forwards packets, IPv4 and IPv6. */
export const FORWARDING = ['net.inet.ip.forwarding', 'net.inet6.ip6.forwarding'] as const;

/** That bridges show packet filters what passes their members, and what comes in for the host. */
export const FILTERING = ['net.link.bridge.pfil_member', 'net.link.bridge.pfil_local_phys'] as const;

/** Values of the given names; unknown ones are left out. Source: sysctl(8) "-i". */
export const readSysctls = (names: readonly string[]): Command => command('/sbin/sysctl', ['-i', ...names]);

/** Exit 0 when a name exists: a feature probe that needs no version. Source: sysctl(8) "-d". */
export const describeSysctl = (name: string): Command => command('/sbin/sysctl', ['-d', name]);

export const setSysctls = (values: Readonly<Record<string, string>>): Command =>
  command(
    '/sbin/sysctl',
    Object.entries(values).map(([name, value]) => `${name}=${value}`),
  );

/** Parses `name: value` lines. */
export const parseSysctls = (text: string): ReadonlyMap<string, string> =>
  new Map(
    text.split('\n').flatMap((line) => {
      const match = /^([a-z0-9_.]+): (.*)$/i.exec(line);
      return match ? [[match[1] ?? '', match[2] ?? ''] as const] : [];
    }),
  );

/** Names below a node, one a line; a node that is a value too ends in a dot. Source: sysctl(8) "-N". */
export const listSysctls = (node: string): Command => command('/sbin/sysctl', ['-N', node]);

export const parseNames = (text: string): string[] => [
  ...new Set(text.split('\n').flatMap((line) => (line === '' ? [] : [line.replace(/\.$/, '')]))),
];
