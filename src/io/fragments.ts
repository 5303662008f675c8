import { readdirSync, readFileSync } from 'node:fs';

/** Where the package has its devfs rules: beside src, and beside dist. */
const DIRECTORY = new URL('../../devfs/', import.meta.url);
const ENDING = '.rules';

/** The texts of devfs/*.rules by name. */
export const readFragments = (): Readonly<Record<string, string>> =>
  Object.fromEntries(
    readdirSync(DIRECTORY)
      .filter((name) => name.endsWith(ENDING))
      .map((name) => [name.slice(0, -ENDING.length), readFileSync(new URL(name, DIRECTORY), 'utf8')]),
  );
