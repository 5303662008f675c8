import type { Command } from '../../base/host.ts';
import { command } from '../../platform/command.ts';

/** Every process of the host, without headers. Source: ps(1) of procps. */
export const listProcesses = (): Command =>
  command('/usr/bin/ps', ['-ww', '-e', '-o', 'pid=,ppid=,uid=,lstart=,rss=,args=']);

/** Whether a uid has processes: exit 1 when it has none. Source: pgrep(1) "-U", the real uid. */
export const probeUid = (uid: number): Command => command('/usr/bin/pgrep', ['-U', String(uid)]);

export const killUid = (uid: number): Command => command('/usr/bin/pkill', ['-KILL', '-U', String(uid)]);

/** Whether root runs a command line that begins like this: exit 1 when not. Anybody may write any command line, so root only. */
export const probeRoot = (start: string): Command => command('/usr/bin/pgrep', ['-u', '0', '-f', `^${escape(start)}`]);

export const signalRoot = (signal: 'TERM' | 'CONT', start: string): Command =>
  command('/usr/bin/pkill', [`-${signal}`, '-u', '0', '-f', `^${escape(start)}`]);

const escape = (text: string): string => text.replaceAll(/[.[\]{}()*+?^$|\\]/g, '\\$&');

export interface Process {
  readonly pid: number;
  readonly ppid: number;
  readonly uid: number;
  readonly startedMs: number;
  readonly rssBytes: number;
  readonly args: string;
}

/** Parses listProcesses. lstart is ctime(3) in the zone of the environment, which brig sets to UTC. */
export const parseProcesses = (text: string): Process[] =>
  text.split('\n').flatMap((line) => {
    const match = /^ *(\d+) +(\d+) +(\d+) +(\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}) +(\d+) (.*)$/.exec(line);
    if (!match) return [];
    const [, pid, ppid, uid, started, rss, args] = match;
    return [
      {
        pid: Number(pid),
        ppid: Number(ppid),
        uid: Number(uid),
        startedMs: Date.parse(`${started ?? ''} UTC`),
        rssBytes: Number(rss) * 1024,
        args: args ?? '',
      },
    ];
  });
