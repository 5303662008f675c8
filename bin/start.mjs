// Says in one line when Node is too old, then runs the source of a checkout, or what tsc built of it in a package.
import { existsSync } from 'node:fs';

const NEEDED = 24;
const [, , program, ...args] = process.argv;
if (Number(process.versions.node.split('.')[0]) < NEEDED) {
  process.stderr.write(
    `${program}: expected Node ${NEEDED} or newer, got ${process.versions.node}; install it, or run npm ci in the package\n`,
  );
  process.exit(69);
}
process.argv = [process.argv[0], program, ...args];
const room = program === 'brigd' ? 'daemon' : 'cli';
const source = new URL(`../src/${room}/main.ts`, import.meta.url);
await import(existsSync(source) ? source.href : new URL(`../dist/${room}/main.js`, import.meta.url).href);
