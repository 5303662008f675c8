import { z } from 'zod';
import { BrigError } from '../base/errors.ts';
import { parseBytes } from '../base/units.ts';
import { parseText, parseWith } from './document.ts';
import { cloudInitChoice } from './cloud-init.ts';
import { expected, labels, name as vmName } from './fields.ts';

const line = z.string().regex(/^[^\u0000-\u001f\u007f]{1,300}$/, expected('a text on one line'));
const summary = line.optional();

/** A value that whoever creates a VM may choose; without a default, must. */
const parameter = z.discriminatedUnion(
  'type',
  [
    z.strictObject({ type: z.literal('string'), default: line.optional(), summary }),
    z.strictObject({
      type: z.literal('integer'),
      min: z.int().optional(),
      max: z.int().optional(),
      default: z.int().optional(),
      summary,
    }),
    z.strictObject({ type: z.literal('size'), default: line.optional(), summary }),
    z.strictObject({ type: z.literal('boolean'), default: z.boolean().optional(), summary }),
    z.strictObject({ type: z.literal('choice'), values: z.array(line).min(1), default: line.optional(), summary }),
  ],
  expected('a type: string, integer, size, boolean or choice'),
);

const NAME = /^[a-z][a-z0-9-]{0,30}$/;
const name = z.string().regex(NAME, expected('a name of [a-z0-9-], at most 31 characters'));

const template = z.strictObject({
  template: name,
  summary: line,
  /** Where its image comes from, and how to know that it is the one. */
  source: z
    .strictObject({ url: z.url({ protocol: /^https$/ }).optional(), verify: line, options: line.optional() })
    .optional(),
  parameters: z.record(name, parameter).default({}),
  /** A VM document without a name; `${parameter}` stands for a value, `$$` for a dollar. */
  vm: z.record(z.string(), z.json()),
});

/** What somebody who may not say a document himself may choose of a template. */
const fromTemplate = z.strictObject({
  name: vmName,
  /** Values of parameters. */
  set: z.record(z.string(), line).default({}),
  cloudInit: cloudInitChoice.optional(),
  labels,
});

export type TemplateChoice = z.output<typeof fromTemplate>;

/** Errors: spec.invalid. */
export const parseFromTemplate = (value: unknown, source: string): TemplateChoice =>
  parseWith(fromTemplate, value, source, 'spec.invalid');

export type Template = z.output<typeof template>;
type Parameter = z.output<typeof parameter>;
type Value = string | number | boolean;

const REFERENCE = /\$(\$|\{([^}]*)\})/g;

const invalid = (source: string, path: string, wanted: string, got: string): BrigError =>
  new BrigError('spec.invalid', `check ${source}: 1 problem\n  ${path}: expected ${wanted}, got ${got}`, {
    details: { problems: [{ path, expected: wanted, got }] },
  });

const referencesOf = (value: unknown): string[] => {
  if (typeof value === 'string') return [...value.matchAll(REFERENCE)].flatMap((match) => match[2] ?? []);
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap(referencesOf);
};

const listOf = (names: readonly string[]): string => (names.length === 0 ? 'none' : names.join(', '));

/** Errors: spec.invalid, for a reference to a parameter that is not there, too. */
export const parseTemplate = (text: string, source: string): Template => {
  const parsed = parseWith(template, parseText(text, source), source, 'spec.invalid');
  const known = Object.keys(parsed.parameters);
  const strange = referencesOf(parsed.vm).find((each) => each !== 'name' && !known.includes(each));
  if (strange !== undefined)
    throw invalid(source, 'vm', `references to ${listOf(['name', ...known])}`, `\${${strange}}`);
  for (const [key, each] of Object.entries(parsed.parameters))
    if (each.default !== undefined) toValue(each, String(each.default), `${source}: parameters.${key}.default`);
  return parsed;
};

/** Whether a text is a template rather than a VM document. */
export const isTemplate = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && 'template' in value;

/** What a parameter may be, for people. */
export const renderParameter = (each: Parameter): string => {
  switch (each.type) {
    case 'string':
      return 'a text';
    case 'size':
      return 'a size such as 20G';
    case 'boolean':
      return 'true or false';
    case 'choice':
      return each.values.join(' or ');
    case 'integer':
      return `a whole number${each.min === undefined ? '' : ` from ${each.min}`}${each.max === undefined ? '' : ` to ${each.max}`}`;
  }
};

const integerOf = (
  text: string,
  { min = -Infinity, max = Infinity }: { min?: number | undefined; max?: number | undefined },
) => {
  const number = /^-?\d{1,15}$/.test(text) ? Number(text) : NaN;
  return number >= min && number <= max ? number : undefined;
};

const valueOf = (each: Parameter, text: string): Value | undefined => {
  switch (each.type) {
    case 'string':
      return /^[^\u0000-\u001f\u007f]{1,300}$/.test(text) ? text : undefined;
    case 'size':
      return parseBytes(text) === undefined ? undefined : text;
    case 'boolean':
      return text === 'true' || text === 'false' ? text === 'true' : undefined;
    case 'choice':
      return each.values.includes(text) ? text : undefined;
    case 'integer':
      return integerOf(text, each);
  }
};

const toValue = (each: Parameter, text: string, path: string): Value => {
  const value = valueOf(each, text);
  if (value === undefined) throw invalid('template', path, renderParameter(each), JSON.stringify(text.slice(0, 60)));
  return value;
};

const fill = (value: unknown, values: ReadonlyMap<string, Value>): unknown => {
  if (Array.isArray(value)) return value.map((each) => fill(each, values));
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, fill(each, values)]));
  if (typeof value !== 'string') return value;
  // A value alone keeps its type: `cpus: ${cpus}` is a number.
  const alone = /^\$\{([^}]*)\}$/.exec(value)?.[1];
  if (alone !== undefined) return values.get(alone);
  return value.replaceAll(REFERENCE, (_, dollar: string, key?: string) =>
    key === undefined ? dollar : String(values.get(key)),
  );
};

/**
 * The VM document of a template: values are put into its parsed text, so that none of them is ever syntax.
 * Errors: spec.invalid for an unknown parameter, one without a value, and a value of another type.
 */
export const renderTemplate = (
  { template: of, parameters, vm }: Template,
  vmName: string,
  given: ReadonlyMap<string, string>,
): Record<string, unknown> => {
  const source = `template ${of}`;
  const known = Object.keys(parameters);
  const strange = [...given.keys()].find((key) => !known.includes(key));
  if (strange !== undefined) throw invalid(source, '--set', `one of ${listOf(known)}`, strange);
  const values = new Map<string, Value>([['name', vmName]]);
  for (const [key, each] of Object.entries(parameters)) {
    const text = given.get(key) ?? each.default;
    if (text === undefined) throw invalid(source, `--set ${key}`, renderParameter(each), 'nothing');
    values.set(key, toValue(each, String(text), `--set ${key}`));
  }
  return { name: vmName, ...(fill(vm, values) as Record<string, unknown>) };
};

const objectOf = (value: unknown): object => (typeof value === 'object' && value !== null ? value : {});

/** The same with what somebody chose: on what he is silent the template is heard. Errors: as above. */
export const renderChoice = (
  template: Template,
  { name: vmName, set, cloudInit, labels: said }: TemplateChoice,
): Record<string, unknown> => {
  const document = renderTemplate(template, vmName, new Map(Object.entries(set)));
  const isSeeded = document.cloudInit || cloudInit;
  return {
    ...document,
    // What a template says of itself counts for rules, too.
    labels: { ...said, ...objectOf(document.labels) },
    ...(isSeeded ? { cloudInit: { ...objectOf(document.cloudInit), ...cloudInit } } : {}),
  };
};

/** A template as a node offers it. Shape is stable. */
export interface TemplateView {
  readonly name: string;
  readonly summary: string;
  /** What each may be, in words. */
  readonly parameters: Readonly<Record<string, string>>;
}
