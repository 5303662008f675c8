// Says in one line when Node is too old, then runs what tsc built, or a checkout's source where that is newer.
import { existsSync, globSync, statSync } from 'node:fs';

const NEEDED = 24;
const [node, , program, ...args] = process.argv;
if (Number(process.versions.node.split('.')[0]) < NEEDED) {
  process.stderr.write(
    `${program}: expected Node ${NEEDED} or newer, got ${process.versions.node}; install it, or run npm ci in the package\n`,
  );
  process.exit(69);
}

const at = (path) => new URL(`../${path}`, import.meta.url);

const isBuilt = () => {
  if (!existsSync(at('dist/index.js'))) return false;
  if (!existsSync(at('src'))) return true;
  const builtMs = statSync(at('dist/index.js')).mtimeMs;
  return globSync('**/*.ts', { cwd: at('src').pathname }).every(
    (path) => statSync(at(`src/${path}`)).mtimeMs <= builtMs,
  );
};

process.argv = [node, program, ...args];
const room = program === 'brigd' ? 'daemon' : 'cli';
await import(at(isBuilt() ? `dist/${room}/main.js` : `src/${room}/main.ts`).href);
