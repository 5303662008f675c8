/** Sends a real brigd on the model what is wrong, for as long as wanted: npm run fuzz -- [SEED] [SECONDS]. */
import { fuzz, Target } from './node.ts';

const [seedText = '', secondsText = '60'] = process.argv.slice(2);
const first = seedText === '' ? Date.now() % 2 ** 31 : Number(seedText);
const seconds = Number(secondsText);
if (!Number.isInteger(first) || !(seconds > 0)) {
  process.stderr.write('expected: npm run fuzz -- [SEED] [SECONDS]\n');
  process.exit(64);
}
const SLICE = 2_000;
const faults: unknown[] = [];
process.on('unhandledRejection', (error) => void faults.push(error));
process.on('uncaughtException', (error) => void faults.push(error));

const until = Date.now() + seconds * 1000;
const statuses = new Map<number, number>();
let failed = false;
/** A brigd for each slice: the same seed does the same, however long the others were. */
for (let seed = first; Date.now() < until && !failed; seed++) {
  const target = await new Target().open();
  const places = await target.places();
  const doors = target.hasUsers ? [target.user, target.root] : [target.root];
  for (const [i, socket] of doors.entries()) {
    const before = JSON.stringify(await target.state());
    const found = await fuzz(socket, places, { seed, count: SLICE, until });
    for (const [status, count] of found.statuses) statuses.set(status, (statuses.get(status) ?? 0) + count);
    const changed =
      i < doors.length - 1 && JSON.stringify(await target.state()) !== before
        ? ['what a viewer asked for changed the host']
        : [];
    const wrong = [...found.wrong, ...changed, ...faults.splice(0).map((error) => `nobody caught ${String(error)}`)];
    for (const line of wrong)
      process.stdout.write(`seed ${seed} ${socket === target.root ? 'root' : 'user'}: ${line}\n`);
    failed ||= wrong.length > 0;
  }
  if (!Array.isArray(await target.client.list())) failed = true;
  await target.close();
}
const told = [...statuses].sort(([a], [b]) => a - b).map(([status, count]) => `${count} x ${status}`);
process.stdout.write(
  `${told.join(', ')}\n${failed ? `failed: npm run fuzz -- SEED of the line` : 'all were answered as they should be'}\n`,
);
process.exitCode = failed ? 1 : 0;
