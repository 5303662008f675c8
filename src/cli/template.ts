import type { Client } from '../api/client.ts';
import { BrigError } from '../base/errors.ts';
import { findTemplate, hasTemplate } from '../io/templates.ts';
import { parseTemplate, renderTemplate, type Template } from '../spec/template.ts';
import type { Values } from './command.ts';

/** `KEY=VALUE` of each --set. Errors: usage.invalid. */
export const settingsOf = (values: Values): Map<string, string> => {
  const given = Array.isArray(values.set) ? values.set.map(String) : [];
  const settings = new Map<string, string>();
  for (const text of given) {
    const at = text.indexOf('=');
    const key = text.slice(0, Math.max(at, 0));
    if (at < 1 || settings.has(key))
      throw new BrigError('usage.invalid', `read arguments: expected --set KEY=VALUE, each key once, got ${text}`);
    settings.set(key, text.slice(at + 1));
  }
  return settings;
};

/** Whether it is the node's to fill in: another's always, this one's where it cannot be read here. */
export const isOfNode = async (name: string, { isElsewhere }: Pick<Client, 'isElsewhere'>): Promise<boolean> =>
  !name.includes('/') && (isElsewhere || !(await hasTemplate(name)));

/** Of this machine, or of a file. Errors: spec.invalid. */
export const openTemplate = async (name: string): Promise<Template> => {
  const { text, path } = await findTemplate(name);
  return parseTemplate(text, path);
};

/** The command that brings in a template's image. */
export const importLine = ({ source }: Template): string | undefined =>
  source?.url === undefined || source.options === undefined
    ? undefined
    : `brig image import ${source.url} ${source.options} --sha256 DIGEST`;

/** A document, and what to say when its image is not here. */
export const documentOf = (
  template: Template,
  name: string,
  values: Values,
): { readonly document: Record<string, unknown>; readonly hint?: string } => {
  const hint = importLine(template);
  return {
    document: renderTemplate(template, name, settingsOf(values)),
    ...(hint === undefined ? {} : { hint: `${hint}; brig template show ${template.template} says how to verify it` }),
  };
};
