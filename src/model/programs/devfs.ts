import { GROUPS } from '../base-system.ts';
import { applyRuleset, settleMounts } from '../devices.ts';
import { normal } from '../files.ts';
import { done, fail, lines, must, unknownArgv, type Answer, type Program } from '../program.ts';
import type { Rule, World } from '../world.ts';

const PROGRAM = 'devfs';
const PATTERN_BYTES = 199;
const MAX_NUMBER = 65_535;

type Draft = { -readonly [K in keyof Rule]: Rule[K] };

/** A name of the host's, else what atoi(3) makes of it. */
const idOf = (names: ReadonlyMap<number, string>, text: string): number => {
  const known = [...names].find(([, name]) => name === text)?.[0];
  return known ?? (Number.parseInt(text, 10) || 0);
};

interface Parsed {
  readonly rule: Draft;
  readonly warning: string;
}

const ACTIONS: Readonly<Record<string, (rule: Draft, value: string, world: World) => void>> = {
  path: (rule, value) => void (rule.path = Buffer.from(value).subarray(0, PATTERN_BYTES).toString('utf8')),
  type: (rule, value) => void (rule.type = value),
  user: (rule, value, world) => void (rule.user = idOf(world.users, value)),
  group: (rule, value) => void (rule.group = idOf(GROUPS, value)),
  mode: (rule, value) => void (rule.mode = Number.parseInt(value, 8)),
  include: (rule, value) => void (rule.include = Number(value)),
};

/** One rule as words: `[NUMBER] [path PAT] [type T] {hide|unhide|user U|group G|mode M|include N}...`. */
const parseRule = (world: World, words: readonly string[], next: number): Parsed => {
  const isNumbered = /^\d+$/.test(words[0] ?? '');
  const rule: Draft = { number: isNumbered ? Number(words[0]) : next };
  let warning = '';
  for (let at = isNumbered ? 1 : 0; at < words.length; at++) {
    const word = words[at] ?? '';
    if (word === 'hide' || word === 'unhide') rule.hide = word === 'hide';
    else {
      const action = ACTIONS[word];
      if (!action) throw unknownArgv(PROGRAM, words, `unknown word ${word}`);
      const value = must(PROGRAM, words, ++at, `value of ${word}`);
      if (word === 'path' && Buffer.byteLength(value) > PATTERN_BYTES)
        warning = 'devfs rule: pattern specified too long; truncated\n';
      action(rule, value, world);
    }
  }
  return { rule, warning };
};

const nextNumber = (rules: readonly Rule[]): number => (rules.at(-1)?.number ?? 0) + 100;

/** Answers the errno text when the kernel refuses the rule. */
const addRule = (world: World, ruleset: number, rule: Rule): string | undefined => {
  const rules = world.rulesets.get(ruleset) ?? [];
  if (rule.number > MAX_NUMBER) return 'Result too large';
  if (rules.some((each) => each.number === rule.number)) return 'File exists';
  if (rule.include !== undefined && !world.rulesets.get(rule.include)?.length) return 'No such process';
  settleMounts(world, ruleset);
  if (rule.include !== undefined) world.included.add(rule.include);
  world.rulesets.set(
    ruleset,
    [...rules, rule].sort((a, b) => a.number - b.number),
  );
  return undefined;
};

/** A blank line ends the input with success; what came before is added (FACTS S.6). */
const addFromInput = (world: World, ruleset: number, stdin: string): Answer => {
  let warnings = '';
  for (const line of stdin.replace(/\n$/, '').split('\n')) {
    if (line === '') break;
    if (/^[ \t]/.test(line)) throw unknownArgv(PROGRAM, [line], 'a rule that begins with a blank is not in the model');
    const words = line.split(/[ \t]+/).filter(Boolean);
    const { rule, warning } = parseRule(world, words, nextNumber(world.rulesets.get(ruleset) ?? []));
    warnings += warning;
    const problem = addRule(world, ruleset, rule);
    if (problem !== undefined) return { status: 1, stdout: '', stderr: `${warnings}devfs rule: ioctl: ${problem}\n` };
  }
  return { status: 0, stdout: '', stderr: warnings };
};

const addFromArguments = (world: World, ruleset: number, words: readonly string[]): Answer => {
  const { rule, warning } = parseRule(world, words, nextNumber(world.rulesets.get(ruleset) ?? []));
  const problem = addRule(world, ruleset, rule);
  return problem === undefined
    ? { status: 0, stdout: '', stderr: warning }
    : fail(`devfs rule: ioctl DEVFSIO_RADD: ${problem}`);
};

/** Names where the host has them, otherwise numbers; the mode is octal without 0 (FACTS S.7). */
const renderRule = (world: World, rule: Rule): string =>
  [
    String(rule.number),
    ...(rule.path === undefined ? [] : ['path', rule.path]),
    ...(rule.type === undefined ? [] : ['type', rule.type]),
    ...(rule.hide === undefined ? [] : [rule.hide ? 'hide' : 'unhide']),
    ...(rule.user === undefined ? [] : ['user', world.users.get(rule.user) ?? String(rule.user)]),
    ...(rule.group === undefined ? [] : ['group', GROUPS.get(rule.group) ?? String(rule.group)]),
    ...(rule.mode === undefined ? [] : ['mode', rule.mode.toString(8)]),
    ...(rule.include === undefined ? [] : ['include', String(rule.include)]),
  ].join(' ');

/** The set itself lives as long as a mount uses it. */
const deleteSet = (world: World, ruleset: number): Answer => {
  settleMounts(world, ruleset);
  if (world.mounts.some((mount) => mount.devfs?.ruleset === ruleset)) world.rulesets.set(ruleset, []);
  else world.rulesets.delete(ruleset);
  return done();
};

const showSets = (world: World): Answer =>
  done(lines([...world.rulesets.keys()].sort((a, b) => a - b).map((ruleset) => String(ruleset))));

const applySet = (world: World, node: string, args: readonly string[]): Answer => {
  const mount = world.mountsAt.get(normal(node))?.at(-1);
  if (!mount?.devfs) throw unknownArgv(PROGRAM, args, `no devfs at ${node}`);
  applyRuleset(world, mount.devfs);
  return done();
};

/** devfs(8) `rule`: sets of rules by number, and their use on a mount. */
export const devfs: Program = (world, args, stdin) => {
  const mount = args[0] === '-m' ? must(PROGRAM, args, 1, 'mount point') : undefined;
  const rest = mount === undefined ? args : args.slice(2);
  if (rest[0] !== 'rule') throw unknownArgv(PROGRAM, args, 'only rule is known');
  if (mount !== undefined) {
    if (rest[1] !== 'applyset' || rest.length !== 2) throw unknownArgv(PROGRAM, args, 'only applyset with -m is known');
    return applySet(world, mount, args);
  }
  if (rest[1] === 'showsets' && rest.length === 2) return showSets(world);
  if (rest[1] !== '-s') throw unknownArgv(PROGRAM, args, 'expected -s');
  return withRuleset(world, args, rest.slice(2), stdin);
};

const withRuleset = (world: World, args: readonly string[], rest: readonly string[], stdin: string): Answer => {
  const [text = '', verb, ...words] = rest;
  const ruleset = Number(text);
  if (!/^\d+$/.test(text) || ruleset > MAX_NUMBER) return fail(`devfs rule: error converting to number: ${text}`);
  if (ruleset === 0) throw unknownArgv(PROGRAM, args, 'ruleset 0 is not in the model');
  if (verb === 'add' && words.length === 1 && words[0] === '-') return addFromInput(world, ruleset, stdin);
  if (verb === 'add' && words.length > 0) return addFromArguments(world, ruleset, words);
  if (verb === 'show' && words.length === 0)
    return done(lines((world.rulesets.get(ruleset) ?? []).map((rule) => renderRule(world, rule))));
  if (verb === 'delset' && words.length === 0) return deleteSet(world, ruleset);
  throw unknownArgv(PROGRAM, args, 'expected add, show or delset');
};
