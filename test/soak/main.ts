/** npm run soak -- [--vms N] [--seconds N] [--seed N]: real VMs on a host on which everything goes wrong. */
import { parseArgs } from 'node:util';
import { median } from '../bench/script.ts';
import { Soak } from './soak.ts';

const NOTICED_MS = 100;

const { values } = parseArgs({
  options: {
    vms: { type: 'string', default: '20' },
    seconds: { type: 'string', default: '120' },
    seed: { type: 'string', default: '1' },
  },
});
const options = { vms: Number(values.vms), seconds: Number(values.seconds), seed: Number(values.seed) };
const counts = (map: ReadonlyMap<string, number>): string =>
  [...map].map(([what, count]) => `${what} ${count}`).join(', ') || 'none';

const soak = new Soak(options);
process.on('SIGINT', () => soak.stop());
const report = await soak.run();
const p50 = median(report.noticedMs);
console.log(`done: ${counts(report.actions)}`);
console.log(`refused: ${counts(report.refused)}`);
console.log(
  `the end of a VM noticed after: p50 ${p50.toFixed(1)} ms, most ${Math.max(...report.noticedMs).toFixed(1)} ms`,
);
console.log(`converged within ${(report.convergedMs / 1000).toFixed(1)} s; every VM started again; nothing is left`);
if (p50 > NOTICED_MS) {
  console.error(`expected the end of a VM to be noticed within ${NOTICED_MS} ms`);
  process.exit(1);
}
