import type { Command } from '../../base/host.ts';
import { command } from '../../platform/command.ts';

/** Every jail, dying ones too, as JSON. `meta` exists on 15 only. */
export const listJails = (withMeta: boolean): Command =>
  command('/usr/sbin/jls', [
    '-d',
    '--libxo=json',
    '-n',
    'jid',
    'name',
    'path',
    'dying',
    'vnet',
    'devfs_ruleset',
    ...(withMeta ? ['meta'] : []),
  ]);

export interface Jail {
  readonly jid: number;
  readonly name: string;
  readonly path: string;
  readonly dying: boolean;
  readonly ruleset: number;
  /** It has a network stack of its own. */
  readonly vnet: boolean;
  /** Name of brig's VM, from `meta.brig_vm`. */
  readonly vm?: string;
}

interface JlsRow {
  jid: string;
  name: string;
  path?: string;
  dying?: boolean;
  devfs_ruleset?: string;
  vnet?: string;
  meta?: string;
}

/** Parses `jls --libxo=json -n`: numbers are strings, booleans bare. */
export const parseJails = (text: string): Jail[] => {
  const rows = (JSON.parse(text) as { 'jail-information'?: { jail?: JlsRow[] } })['jail-information']?.jail ?? [];
  return rows.map((row) => {
    const vm = /(?:^|\n)brig_vm=(.*)/.exec(row.meta ?? '')?.[1];
    return {
      jid: Number(row.jid),
      name: row.name,
      path: row.path ?? '',
      dying: row.dying ?? false,
      ruleset: Number(row.devfs_ruleset ?? 0),
      vnet: row.vnet === 'new',
      ...(vm === undefined ? {} : { vm }),
    };
  });
};

/** Parameters of every jail, dying ones too. An unknown name makes jls(8) fail: ask only for what the kernel has. */
export const listParameters = (names: readonly string[]): Command =>
  command('/usr/sbin/jls', ['-d', '--libxo=json', '-n', 'name', ...names]);

/** Parses it by jail: numbers and booleans become text. */
export const parseParameters = (text: string): ReadonlyMap<string, ReadonlyMap<string, string>> => {
  const rows =
    (JSON.parse(text) as { 'jail-information'?: { jail?: Record<string, unknown>[] } })['jail-information']?.jail ?? [];
  return new Map(
    rows.map((row) => [String(row.name), new Map(Object.entries(row).map(([name, value]) => [name, String(value)]))]),
  );
};
