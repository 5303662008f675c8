import { BrigError } from '../base/errors.ts';
import type { Rule } from './programs/devfs.ts';

/** Texts of devfs/*.rules by name without the ending. */
export type Fragments = Readonly<Record<string, string>>;

/** A fragment and what its placeholders stand for. */
export interface Use {
  readonly fragment: string;
  readonly values: Readonly<Record<string, string>>;
}

const wrong = (use: Use, line: string, why: string): BrigError =>
  new BrigError('config.invalid', `read devfs/${use.fragment}.rules: ${why}: ${line}`);

const fill = (use: Use, line: string): string =>
  line.replaceAll(/\{(\w+)\}/g, (text, key: string) => {
    const value = use.values[key];
    if (value === undefined) throw wrong(use, line, `expected a known placeholder, got ${text}`);
    return value;
  });

/** Directories above a path, outermost first. */
const parentsOf = (path: string): string[] =>
  path
    .split('/')
    .slice(0, -1)
    .map((_, i, parts) => parts.slice(0, i + 1).join('/'));

const RULE = /^(?:path ([^\s*?[\]\\]+) )?(hide|unhide)(?: user (\d+))?(?: mode ([0-7]{3}))?$/;

const parseLine = (use: Use, line: string): Rule[] => {
  const parents = /^parents (\S+)$/.exec(line)?.[1];
  if (parents !== undefined) return parentsOf(parents).map((path) => ({ path }));
  const match = RULE.exec(line);
  if (!match) throw wrong(use, line, 'expected a rule of exact names');
  const [, path, verb, user, mode] = match;
  return [
    {
      ...(path === undefined ? {} : { path }),
      ...(verb === 'hide' ? { hide: true as const } : {}),
      ...(user === undefined ? {} : { user: Number(user) }),
      ...(mode === undefined ? {} : { mode: Number.parseInt(mode, 8) }),
    },
  ];
};

const rulesOf = (fragments: Fragments, use: Use): Rule[] => {
  const text = fragments[use.fragment];
  if (text === undefined) throw new BrigError('config.invalid', `read devfs/${use.fragment}.rules: no such file`);
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return lines.flatMap((line) => parseLine(use, fill(use, line)));
};

/**
 * One ruleset from fragments, in their order. Several devices share parents: one rule for each path.
 * Errors: config.invalid for a line that is not a rule of exact names.
 */
export const composeRules = (fragments: Fragments, uses: readonly Use[]): Rule[] => {
  const all = uses.flatMap((use) => rulesOf(fragments, use));
  return all.filter((rule, i) => all.findIndex((other) => other.path === rule.path) === i);
};
