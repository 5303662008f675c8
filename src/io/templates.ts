import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BrigError, messageOf } from '../base/errors.ts';

/** Where templates are: an administrator's come before those of brig. */
const DIRECTORIES = ['/usr/local/etc/brig/templates', fileURLToPath(new URL('../../templates', import.meta.url))];

/** Text of a template's file. */
export interface TemplateFile {
  readonly path: string;
  readonly text: string;
}

const read = async (path: string): Promise<TemplateFile> => {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw new BrigError('spec.invalid', `read ${path}: ${messageOf(error).split(', ')[0]}`);
  });
  return { path, text };
};

/** All that are there, by name; of two of one name the administrator's. */
export const listTemplates = async (): Promise<Map<string, TemplateFile>> => {
  const found = new Map<string, TemplateFile>();
  for (const directory of DIRECTORIES)
    for (const file of (await readdir(directory).catch(() => [])).sort()) {
      const name = /^([a-z][a-z0-9-]*)\.yaml$/.exec(file)?.[1];
      if (name !== undefined && !found.has(name)) found.set(name, await read(join(directory, file)));
    }
  return found;
};

/** Whether a template of this machine is called so. */
export const hasTemplate = async (name: string): Promise<boolean> => (await listTemplates()).has(name);

/** By name, or a path with a slash. Errors: spec.invalid. */
export const findTemplate = async (name: string): Promise<TemplateFile> => {
  if (name.includes('/')) return await read(name);
  const all = await listTemplates();
  const found = all.get(name);
  if (found) return found;
  throw new BrigError('spec.invalid', `find template ${name}: no such template`, {
    hint: `there are ${[...all.keys()].join(', ')}`,
  });
};
