import { done, fail, lines, must, unknownArgv, type Answer, type Program } from '../program.ts';
import type { Ruleset, World } from '../world.ts';

const PROGRAM = 'pfctl';

/** unrecorded: where pf puts the state's words among the others of a rule that passes. */
const printRule = (line: string): string => {
  const said = line.replace(/^block/, 'block drop').replaceAll(/ port (\d+)(?=$| )/g, ' port = $1');
  if (!said.startsWith('pass')) return said;
  const flags = / proto (udp|icmp6?)\b/.test(said) ? '' : ' flags S/SA';
  return said.replace(/( label "[^"]*")?$/, `${flags} keep state$1`);
};

/** A line as pf prints it again. Recorded: anchors, nat, rdr and block; `pass` is FACTS 5.4. */
const FORMS: readonly (readonly [RegExp, keyof Ruleset | 'tables', (line: string) => string])[] = [
  [/^(nat|rdr)-anchor "[^"]+"$/, 'translations', (line) => `${line} all`],
  [/^anchor "[^"]+"$/, 'filters', (line) => `${line} all`],
  [/^nat on \S+ inet6? from \S+ to \S+ -> \(\S+\)$/, 'translations', (line) => `${line} round-robin`],
  [
    /^rdr (pass )?on (! )?\S+ inet6? proto (tcp|udp) from \S+ to \S+ port \d+( tag \S+)? -> \S+ port \d+$/,
    'translations',
    (line) => line.replace(/ port (\d+)(.*) ->/, ' port = $1$2 ->'),
  ],
  [
    new RegExp(
      [
        /^(block|pass) (in|out)( quick)? on \S+ inet6?( proto \S+)?/,
        /( all| from (! )?\S+( - \S+)?( port \S+)? to (! )?\S+( port \S+)?)( icmp6?-type \S+)?/,
        /( received-on \S+)?( (! )?tagged \S+)?( tag \S+)?( label "[^"]*")?$/,
      ]
        .map((each) => each.source)
        .join(''),
    ),
    'filters',
    printRule,
  ],
  [/^pass$/, 'filters', () => 'pass all flags S/SA keep state'],
  [/^table <\w+> const \{ \S+(, \S+)* \}$/, 'tables', (line) => line],
];

/** Rules of a text, or the message for its first line that is none. */
const parse = (text: string, mode: World['mode']): Ruleset | string => {
  const found = { translations: [], filters: [], tables: [] } as Record<keyof Ruleset | 'tables', string[]>;
  for (const [i, line] of text.split('\n').entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const form = FORMS.find(([pattern]) => pattern.test(line));
    if (!form || (mode === '14' && line.includes(' received-on '))) return `stdin:${i + 1}: syntax error`;
    found[form[1]].push(form[2](line));
  }
  return found;
};

const rulesetOf = (world: World, anchor: string | undefined): Ruleset => {
  const { packetFilter } = world;
  if (anchor === undefined) return packetFilter.main;
  return packetFilter.anchors.get(anchor) ?? { translations: [], filters: [] };
};

const load = (world: World, anchor: string | undefined, text: string, dry: boolean): Answer => {
  const rules = parse(text, world.mode);
  if (typeof rules === 'string') return fail(rules);
  if (dry) return done();
  if (anchor === undefined) Object.assign(world.packetFilter.main, rules);
  else world.packetFilter.anchors.set(anchor, rules);
  return done();
};

/** An anchor of anchors is listed too. */
const anchorsOf = (world: World): string[] => {
  const names = [...world.packetFilter.anchors.keys()];
  return [
    ...new Set(names.flatMap((name) => [...(name.includes('/') ? [name.split('/')[0] ?? ''] : []), name])),
  ].sort();
};

const COUNTERS = [
  ...['match', 'bad-offset', 'fragment', 'short', 'normalize', 'memory', 'bad-timestamp', 'congestion', 'ip-option'],
  ...[
    'proto-cksum',
    'state-mismatch',
    'state-insert',
    'state-limit',
    'src-limit',
    'synproxy',
    'map-failed',
    'translate',
  ],
];

const counter = (name: string): string => `  ${name.padEnd(25)} ${'0'.padStart(14)} ${'0.0'.padStart(14)}/s`;

const info = (world: World): string =>
  lines([
    `Status: ${world.packetFilter.enabled ? 'Enabled' : 'Disabled'} for 0 days 00:12:15          Debug: Urgent`,
    '',
    'State Table                          Total             Rate',
    `  ${'current entries'.padEnd(25)} ${'0'.padStart(14)} ${' '.repeat(14)}`,
    ...['searches', 'inserts', 'removals'].map(counter),
    'Counters',
    ...COUNTERS.map(counter),
  ]);

/** Said to stderr wherever somebody wants to know more. */
const ALTQ = 'No ALTQ support in kernel\nALTQ related functions disabled\n';

const show = (world: World, anchor: string | undefined, what: string, verbose: boolean): Answer => {
  const stderr = verbose ? ALTQ : '';
  const text = (): string => {
    if (what === 'nat') return lines(rulesetOf(world, anchor).translations);
    if (what === 'rules') return lines(rulesetOf(world, anchor).filters);
    if (what === 'Anchors')
      return lines(
        (verbose ? anchorsOf(world) : anchorsOf(world).filter((name) => !name.includes('/'))).map(
          (name) => `  ${name}`,
        ),
      );
    if (what === 'info') return info(world);
    throw unknownArgv(PROGRAM, ['-s', what], 'not in the model');
  };
  return { status: 0, stdout: text(), stderr };
};

/** -F all works and says that it did not (FACTS S.16). unrecorded: -F rules and -F nat */
const flush = (world: World, anchor: string | undefined, what: string): Answer => {
  const rules = rulesetOf(world, anchor);
  if (what !== 'nat') rules.filters.length = 0;
  if (what !== 'rules') rules.translations.length = 0;
  // An anchor without anything is gone.
  if (anchor !== undefined && rules.filters.length + rules.translations.length === 0)
    world.packetFilter.anchors.delete(anchor);
  if (what !== 'all') return { status: 0, stdout: '', stderr: `${what} cleared\n` };
  const said = ['Ethernet rules cleared', 'rules cleared', 'nat cleared', 'pfctl: Operation not supported by device'];
  return { status: 1, stdout: '', stderr: lines(said) };
};

const enable = (world: World, wanted: boolean): Answer => {
  const word = wanted ? 'enabled' : 'disabled';
  if (world.packetFilter.enabled === wanted)
    return fail(wanted ? 'pfctl: pf already enabled' : 'pfctl: pf not enabled');
  world.packetFilter.enabled = wanted;
  return { status: 0, stdout: '', stderr: `pf ${word}\n` };
};

interface Request {
  readonly anchor: string | undefined;
  readonly verbose: boolean;
  readonly dry: boolean;
  readonly action: string;
  readonly value: string;
}

const parseRequest = (args: readonly string[]): Request => {
  let [anchor, action, value] = [undefined as string | undefined, '', ''];
  const flags = new Set<string>();
  for (let at = 0; at < args.length; at++) {
    const word = args[at] ?? '';
    if (word === '-a') anchor = must(PROGRAM, args, ++at, 'anchor');
    else if (word === '-si') [action, value] = ['-s', 'info'];
    else if (word === '-k') [action, value] = ['-k', must(PROGRAM, args, ++at, 'label')];
    else if (word === '-o') must(PROGRAM, args, ++at, 'level');
    else if (['-s', '-F', '-f'].includes(word)) [action, value] = [word, must(PROGRAM, args, ++at, 'value')];
    else if (word === '-e' || word === '-d') action = word;
    else if (word === '-v' || word === '-n') flags.add(word);
    else throw unknownArgv(PROGRAM, args, `unknown word ${word}`);
  }
  return { anchor, action, value, verbose: flags.has('-v'), dry: flags.has('-n') };
};

/** pfctl(8): -e, -d, -s, -F, and -f - of the main ruleset or of an anchor. */
export const pfctl: Program = (world, args, stdin) => {
  const { anchor, action, value, verbose, dry } = parseRequest(args);
  if (!world.modules.has('pf')) return fail('pfctl: /dev/pf: No such file or directory');
  if (action === '-e' || action === '-d') return enable(world, action === '-e');
  if (action === '-s') return show(world, anchor, value, verbose);
  // Nobody speaks in the model: there is no state. unrecorded: its text
  if (action === '-k') return { status: 0, stdout: '', stderr: 'killed 0 states\n' };
  if (action === '-F') return flush(world, anchor, value);
  if (action !== '-f' || value !== '-') throw unknownArgv(PROGRAM, args, 'expected -e, -d, -s, -F or -f -');
  return load(world, anchor, stdin, dry);
};
