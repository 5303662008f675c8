/** npm run history -- FROM [TO]: runs seeded histories and tells those that broke an invariant. */
import { runHistory } from './history.ts';

const [from = 1, to = from] = process.argv.slice(2).map(Number);
const started = performance.now();
let broken = 0;
for (let seed = from; seed <= to; seed++)
  await runHistory(seed).catch((error: unknown) => {
    broken++;
    console.error(String(error));
  });
const count = to - from + 1;
console.log(`${count} histories, ${broken} broken, ${((performance.now() - started) / count).toFixed(1)} ms each`);
process.exit(broken > 0 ? 1 : 0);
