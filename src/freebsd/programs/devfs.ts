import { strict as assert } from 'node:assert';
import type { Command } from '../../base/host.ts';
import { LIMITS } from '../../base/limits.ts';
import { command } from '../../platform/command.ts';

const PROGRAM = '/sbin/devfs';

/** A devfs rule without its number: a pattern (none: everything) and what happens to what matches. */
export interface Rule {
  readonly path?: string;
  readonly hide?: true;
  readonly user?: number;
  readonly mode?: number;
}

const renderRule = (rule: Rule): string => {
  const words = rule.path === undefined ? [] : ['path', rule.path];
  words.push(rule.hide ? 'hide' : 'unhide');
  if (rule.user !== undefined) words.push('user', String(rule.user));
  if (rule.mode !== undefined) words.push('mode', rule.mode.toString(8));
  return words.join(' ');
};

/** stdin of `rule add -`: one rule a line; a blank line would end the input silently (FACTS S.6). */
const renderInput = (rules: readonly Rule[]): string =>
  rules.map((rule) => `${checked(renderRule(rule), rule)}\n`).join('');

const checked = (line: string, rule: Rule): string => {
  assert(line.trim() === line && !line.includes('\n'), 'a rule is one line');
  assert(Buffer.byteLength(rule.path ?? '') <= LIMITS.devfsPatternBytes, 'devfs(8) truncates longer patterns');
  return line;
};

/** What `rule show` must answer when exactly these rules are loaded: numbers go 100, 200, ... */
export const renderShown = (rules: readonly Rule[]): string =>
  rules.map((rule, i) => `${(i + 1) * 100} ${renderRule(rule)}\n`).join('');

export const addRules = (ruleset: number, rules: readonly Rule[]): Command =>
  command(PROGRAM, ['rule', '-s', String(ruleset), 'add', '-'], { stdin: renderInput(rules) });

export const showRules = (ruleset: number): Command => command(PROGRAM, ['rule', '-s', String(ruleset), 'show']);

/** Applies a mount's own set to the nodes that it has already. Source: devfs(8) "applyset", FACTS 3.4. */
export const applyRules = (node: string): Command => command(PROGRAM, ['-m', node, 'rule', 'applyset']);

/** Exit 0 for an unknown set as well (FACTS S.7). */
export const deleteRuleset = (ruleset: number): Command => command(PROGRAM, ['rule', '-s', String(ruleset), 'delset']);

export const listRulesets = (): Command => command(PROGRAM, ['rule', 'showsets']);

/** Parses `devfs rule showsets`: one number a line. */
export const parseRulesets = (text: string): number[] => text.split('\n').filter(Boolean).map(Number);
