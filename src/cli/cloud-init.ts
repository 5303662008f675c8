import { readFile } from 'node:fs/promises';
import { BrigError, messageOf } from '../base/errors.ts';
import type { Values } from './command.ts';

const readBytes = async (path: string): Promise<Buffer> => {
  try {
    return await readFile(path === '-' ? '/dev/stdin' : path);
  } catch (error) {
    throw new BrigError('spec.invalid', `read ${path}: ${messageOf(error)}`);
  }
};

/** A key itself, or the file that holds some: one a line, comments as in authorized_keys. */
const keysOf = async (text: string): Promise<string[]> => {
  if (/^(ssh|ecdsa|sk)-\S+ \S/.test(text)) return [text.trim()];
  const lines = (await readBytes(text)).toString('utf8').split('\n');
  if (lines[0]?.startsWith('-----BEGIN'))
    throw new BrigError('spec.invalid', `read ${text}: expected a public key, got a private one`, {
      hint: `${text}.pub has the public half`,
    });
  return lines.map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'));
};

/** Bytes that are no text go as they are, too. */
const dataOf = async (path: string): Promise<unknown> => {
  const bytes = await readBytes(path);
  const text = bytes.toString('utf8');
  return Buffer.from(text, 'utf8').equals(bytes) ? text : { base64: bytes.toString('base64') };
};

const textsOf = (value: Values[string]): string[] => (Array.isArray(value) ? value.map(String) : []);

/** What the flags say about the seed; undefined when they say nothing. Errors: spec.invalid. */
export const cloudInitOf = async (values: Values): Promise<object | undefined> => {
  const { hostname, 'user-data': path, 'cloud-init': isAsked } = values;
  const keys = (await Promise.all(textsOf(values['ssh-key']).map(keysOf))).flat();
  const said = {
    ...(typeof hostname === 'string' ? { hostname } : {}),
    ...(keys.length === 0 ? {} : { sshKeys: keys }),
    ...(typeof path === 'string' ? { userData: await dataOf(path) } : {}),
  };
  return isAsked === true || Object.keys(said).length > 0 ? said : undefined;
};
