import { done, lines, must, unknownArgv, type Program } from '../program.ts';
import type { Process, World } from '../world.ts';

const PROGRAM = 'ps';

/** Names by number, made once for a listing. */
interface Names {
  readonly users: ReadonlyMap<number, string>;
  readonly jails: ReadonlyMap<number, string>;
}

interface Keyword {
  /** Header of the text form and key of the JSON. Source: bin/ps/keyword.c, FACTS 7. */
  readonly header: string;
  readonly key: string;
  readonly left?: true;
  readonly value: (process: Process, names: Names) => string;
}

/** `Mon Nov 23 01:40:02 2026`: ctime(3) in UTC. */
export const ctime = (ms: number): string => {
  const [day = '', date = '', month = '', year = '', time = ''] = new Date(ms).toUTCString().split(/,? /);
  return `${day} ${month} ${String(Number(date)).padStart(2)} ${time} ${year}`;
};

const jailName = ({ jid }: Process, { jails }: Names): string => jails.get(jid) ?? '-';

const KEYWORDS: Readonly<Record<string, Keyword>> = {
  pid: { header: 'PID', key: 'pid', value: ({ pid }) => String(pid) },
  ppid: { header: 'PPID', key: 'ppid', value: ({ ppid }) => String(ppid) },
  jid: { header: 'JID', key: 'jail-id', value: ({ jid }) => String(jid) },
  jail: { header: 'JAIL', key: 'jail-name', left: true, value: jailName },
  user: { header: 'USER', key: 'user', left: true, value: ({ uid }, { users }) => users.get(uid) ?? String(uid) },
  uid: { header: 'UID', key: 'uid', value: ({ uid }) => String(uid) },
  stat: { header: 'STAT', key: 'state', value: ({ stat }) => stat },
  rss: { header: 'RSS', key: 'rss', value: ({ rssKilobytes }) => String(rssKilobytes) },
  // unrecorded: the JSON key
  vsz: { header: 'VSZ', key: 'virtual-size', value: ({ jid }) => String(jid === 0 ? 14_000 : 110_972) },
  lstart: { header: 'STARTED', key: 'start-time', left: true, value: ({ startedMs }) => ctime(startedMs) },
  command: { header: 'COMMAND', key: 'command', left: true, value: ({ command }) => command },
};

interface Request {
  readonly json: boolean;
  readonly all: boolean;
  readonly jail: string | undefined;
  readonly keywords: readonly Keyword[];
}

const parseRequest = (args: readonly string[]): Request => {
  const request = { json: false, all: false, jail: undefined as string | undefined, keywords: [] as Keyword[] };
  for (let at = 0; at < args.length; at++) {
    const word = args[at];
    if (word === '--libxo=json') request.json = true;
    else if (word === '-ax') request.all = true;
    // As wide as need be: the model cuts nothing.
    else if (word === '-w' || word === '-ww') continue;
    else if (word === '-J') request.jail = must(PROGRAM, args, ++at, 'jail');
    else if (word === '-o') request.keywords = must(PROGRAM, args, ++at, 'keywords').split(',').map(keyword);
    else throw unknownArgv(PROGRAM, args, `unknown word ${word ?? ''}`);
  }
  if (request.keywords.length === 0) throw unknownArgv(PROGRAM, args, 'expected -o');
  if (!request.all && request.jail === undefined) throw unknownArgv(PROGRAM, args, 'expected -ax or -J');
  return request;
};

const keyword = (name: string): Keyword => {
  const found = KEYWORDS[name];
  if (!found) throw unknownArgv(PROGRAM, [name], `unknown keyword ${name}`);
  return found;
};

/** Daemons of the base system that the model knows by name only. */
const daemons = (world: World): Process[] =>
  [...world.posture.services].flatMap((name, i) => {
    const init = world.processes.get(1);
    return init ? [{ ...init, pid: 100 + i, ppid: 1, command: `/usr/sbin/${name}`, stat: 'Ss' }] : [];
  });

/** The options add up: -J with -ax lists everybody (FACTS S.12). */
const choose = (world: World, { all, jail }: Request): Process[] => {
  const jids = new Set(
    world.jails.filter(({ jid, name }) => name === jail || String(jid) === jail).map(({ jid }) => jid),
  );
  return [...world.processes.values(), ...daemons(world)]
    .filter((process) => all || (process.jid !== 0 && jids.has(process.jid)))
    .sort((a, b) => a.pid - b.pid);
};

const toJson = (names: Names, chosen: readonly Process[], keywords: readonly Keyword[]): string => {
  if (chosen.length === 0) return '{ }\n';
  const rows = chosen.map((process) => {
    const pairs = keywords.map(({ key, value }) => `"${key}":${JSON.stringify(value(process, names))}`);
    return `{${pairs.join(',')}}`;
  });
  return `{"process-information": {"process": [${rows.join(', ')}]}}\n`;
};

const toText = (names: Names, chosen: readonly Process[], keywords: readonly Keyword[]): string => {
  const rows = [
    keywords.map(({ header }) => header),
    ...chosen.map((process) => keywords.map(({ value }) => value(process, names))),
  ];
  const widths = keywords.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  const render = (row: readonly string[]): string =>
    row
      .map((text, i) => {
        if (!keywords[i]?.left) return text.padStart(widths[i] ?? 0);
        return i === row.length - 1 ? text : text.padEnd(widths[i] ?? 0);
      })
      .join(' ');
  return lines(rows.map(render));
};

/** ps(1) of everybody or of one jail; nobody is exit 1. */
export const ps: Program = (world, args) => {
  const request = parseRequest(args);
  const names: Names = { users: world.users, jails: new Map(world.jails.map((jail) => [jail.jid, jail.name])) };
  const chosen = choose(world, request);
  const stdout = (request.json ? toJson : toText)(names, chosen, request.keywords);
  return { ...done(stdout), status: chosen.length > 0 ? 0 : 1 };
};
