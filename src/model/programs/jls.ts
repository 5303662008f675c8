import { hasMeta, isAllowed, switchesOf } from '../jail-parameters.ts';
import { findJail } from '../jails.ts';
import { done, fail, lines, must, unknownArgv, type Answer, type Program } from '../program.ts';
import { waitForHost } from '../wedge.ts';
import type { Jail, World } from '../world.ts';

const PROGRAM = 'jls';

interface Request {
  readonly dying: boolean;
  readonly json: boolean;
  /** -n: booleans are bare. */
  readonly named: boolean;
  readonly verbose: boolean;
  readonly jail: string | undefined;
  readonly parameters: readonly string[];
}

const parseRequest = (args: readonly string[]): Request => {
  const flags = new Set<string>();
  let jail: string | undefined;
  let at = 0;
  for (; args[at]?.startsWith('-'); at++) {
    const word = args[at] ?? '';
    if (word === '-j') jail = must(PROGRAM, args, ++at, 'jail');
    else if (['-d', '-n', '-v', '--libxo=json'].includes(word)) flags.add(word);
    else throw unknownArgv(PROGRAM, args, `unknown option ${word}`);
  }
  return {
    dying: flags.has('-d'),
    json: flags.has('--libxo=json'),
    named: flags.has('-n'),
    verbose: flags.has('-v'),
    jail,
    parameters: args.slice(at),
  };
};

const metaOf = (jail: Jail): string =>
  [...jail.parameters]
    .flatMap(([key, value]) => (key.startsWith('meta.') ? [`${key.slice('meta.'.length)}=${String(value)}`] : []))
    .join('\n');

/** Values when nobody set them. */
const DEFAULTS: Readonly<Record<string, string>> = {
  devfs_ruleset: '0',
  enforce_statfs: '2',
  securelevel: '-1',
  'children.max': '0',
  'children.cur': '0',
  'host.hostname': '',
  'host.hostuuid': '00000000-0000-0000-0000-000000000000',
};

/** Undefined: jls(8) knows no such parameter. */
const valueOf = (world: World, jail: Jail, name: string): string | boolean | undefined => {
  if (name === 'jid') return String(jail.jid);
  if (name === 'name' || name === 'path' || name === 'dying') return jail[name];
  // unrecorded: `inherit`
  if (name === 'vnet') return jail.vnet ? 'new' : 'inherit';
  if (name === 'meta') return metaOf(jail);
  if (name === 'persist') return true;
  if (name.startsWith('allow.')) return isAllowed(world, jail, name);
  return jail.parameters.get(name) ?? DEFAULTS[name];
};

const KNOWN = ['jid', 'name', 'path', 'dying', 'vnet', 'persist', ...Object.keys(DEFAULTS)];

const unknownParameter = (world: World, names: readonly string[]): string | undefined =>
  names.find((name) => !KNOWN.includes(name) && !(name in switchesOf(world)) && !(name === 'meta' && hasMeta(world)));

const toJson = (rows: readonly (readonly string[])[]): string => {
  const jails = rows.map((pairs) => `{${pairs.join(',')}}`).join(', ');
  return `{"__version": "2", "jail-information": {"jail": [${jails}]}}\n`;
};

const pair = (key: string, value: string | number | boolean): string =>
  `${JSON.stringify(key)}:${JSON.stringify(value)}`;

const named = (world: World, jails: readonly Jail[], request: Request): string =>
  toJson(
    jails.map((jail) =>
      request.parameters.map((name) => {
        const value = valueOf(world, jail, name) ?? '';
        return pair(name, request.named ? value : String(value));
      }),
    ),
  );

/** Without parameters the number is a number and there is no name (FACTS 3.4). */
const plain = (world: World, jails: readonly Jail[]): string =>
  toJson(
    jails.map((jail) => [
      pair('jid', jail.jid),
      pair('ipv4', ''),
      pair('hostname', String(valueOf(world, jail, 'host.hostname') ?? '')),
      pair('path', jail.path),
    ]),
  );

const verbose = (world: World, jails: readonly Jail[]): string =>
  lines([
    '   JID  Hostname                      Path',
    '        Name                          State',
    '        CPUSetID',
    '        IP Address(es)',
    ...jails.flatMap((jail) => [
      `${String(jail.jid).padStart(6)}  ${String(valueOf(world, jail, 'host.hostname') ?? '').padEnd(29)} ${jail.path}`,
      `        ${jail.name.padEnd(29)} ${jail.dying ? 'DYING' : 'ACTIVE'}`,
      `        ${jail.jid + 2}`,
    ]),
  ]);

const text = (world: World, jails: readonly Jail[], names: readonly string[]): string =>
  lines(jails.map((jail) => names.map((name) => String(valueOf(world, jail, name) ?? '')).join(' ')));

const render = (world: World, jails: readonly Jail[], request: Request): Answer => {
  if (request.verbose && !request.json) return done(verbose(world, jails));
  if (request.json) return done(request.parameters.length > 0 ? named(world, jails, request) : plain(world, jails));
  return done(text(world, jails, request.parameters));
};

/** jls(8), as JSON and as bare values; -d shows dying jails too. */
export const jls: Program = (world, args) => {
  const request = parseRequest(args);
  const waiting = waitForHost(world);
  if (waiting) return waiting;
  if (!request.json && !request.verbose && (request.parameters.length === 0 || request.named))
    throw unknownArgv(PROGRAM, args, 'this form is not in the model');
  const strange = unknownParameter(world, request.parameters);
  if (strange !== undefined) return fail(`jls: unknown parameter: ${strange}`);
  if (request.jail === undefined) {
    const jails = world.jails.filter((jail) => request.dying || !jail.dying);
    return render(world, jails, request);
  }
  const one = findJail(world, request.jail, request.dying);
  return one ? render(world, [one], request) : fail(`jls: jail "${request.jail}" not found`);
};
