import { readFile } from 'node:fs/promises';
import { BrigError, messageOf } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import type { Values } from './command.ts';

export const asList = (value: Values[string]): string[] => (Array.isArray(value) ? value.map(String) : []);
export const asText = (value: Values[string]): string | undefined => (typeof value === 'string' ? value : undefined);
/** What is no number stays as it is: the schema says what it expected. */
export const asNumber = (text: string | undefined): unknown =>
  text !== undefined && /^\d+$/.test(text) ? Number(text) : text;
export const given = (entries: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(entries).filter(([, value]) => value !== undefined));

/** `K=V`, or `K`. */
export const toLabel = (text: string): [string, string] => {
  const at = text.indexOf('=');
  return at === -1 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
};

/** The text of a file, or of stdin for `-`. Errors: spec.invalid. */
export const readDocument = async (path: string): Promise<string> => {
  try {
    const text = await readFile(path === '-' ? '/dev/stdin' : path, 'utf8');
    if (Buffer.byteLength(text) > LIMITS.documentBytes)
      throw new Error(`expected at most ${LIMITS.documentBytes} bytes, got more`);
    return text;
  } catch (error) {
    throw new BrigError('spec.invalid', `read ${path}: ${messageOf(error)}`);
  }
};
