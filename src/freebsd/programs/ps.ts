import type { Command } from '../../base/host.ts';
import { wordOf } from '../../base/words.ts';
import { command } from '../../platform/command.ts';

/** Every process of the host, command lines in full. Source: ps(1), keys from bin/ps/keyword.c. */
export const listProcesses = (): Command =>
  command('/bin/ps', ['--libxo=json', '-ax', '-ww', '-o', 'pid,ppid,jid,jail,user,uid,stat,rss,lstart,command']);

/** The processes of one jail: exit 1 when there is none. Without -a and -x: those would list every process (FACTS S.12). */
export const probeJail = (jail: string): Command => command('/bin/ps', ['-J', jail, '-o', 'pid,stat,command']);

/** bhyve of this VM is in capability mode: `C` in STAT, and its title is set. Seen: `2102 SCJ bhyve: web01 (bhyve)`. */
export const confined = (vm: string): string => `^ *\\d+ +\\S*C\\S* +bhyve: ${vm} `;

export interface Process {
  readonly pid: number;
  readonly ppid: number;
  readonly jid: number;
  readonly jail: string;
  readonly user: string;
  readonly uid: number;
  readonly stat: string;
  readonly rssBytes: number;
  readonly startedMs: number;
  readonly command: string;
}

type PsRow = Partial<
  Record<'pid' | 'ppid' | 'jail-id' | 'jail-name' | 'user' | 'uid' | 'state' | 'rss' | 'start-time' | 'command', string>
>;

/** Parses `ps --libxo=json`: all values are strings; no process is `{ }`. */
export const parseProcesses = (text: string): Process[] => {
  const rows =
    (JSON.parse(text) as { 'process-information'?: { process?: PsRow[] } })['process-information']?.process ?? [];
  return rows.map((row) => ({
    pid: Number(row.pid),
    ppid: Number(row.ppid ?? 0),
    jid: Number(row['jail-id'] ?? 0),
    jail: row['jail-name'] ?? '-',
    user: wordOf(row.user ?? ''),
    uid: Number(row.uid ?? -1),
    stat: wordOf(row.state ?? ''),
    rssBytes: Number(row.rss ?? 0) * 1024,
    // lstart is ctime(3) in the zone of the environment, which brig sets to UTC.
    startedMs: Date.parse(`${row['start-time'] ?? ''} UTC`),
    command: row.command ?? '',
  }));
};
