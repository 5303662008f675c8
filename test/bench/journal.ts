import { closeSync, fsyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { parseVm } from '../../src/spec/vm.ts';
import { Store } from '../../src/store/store.ts';
import { median } from './script.ts';

const ROUNDS = 200;

const time = (work: () => void): number => {
  const startMs = performance.now();
  work();
  return performance.now() - startMs;
};

/**
 * A change made durable before its first effect, against as many bytes written and synced without a store around them.
 * They take turns, on a file system of this machine's disk. Units: milliseconds, medians.
 */
export const journalCost = (): { append: number; fsync: number } => {
  const dir = mkdtempSync('/var/tmp/brig-journal-');
  const store = new Store(join(dir, 'brig.db'));
  const file = openSync(join(dir, 'bare'), 'w');
  store.addVm(parseVm({ name: 'web01', firmware: { builtin: 'test' } }), 0);
  const steps = Array.from({ length: 18 }, (_, i) => ({ kind: `step${i}`, args: { text: 'x'.repeat(200) } }));
  const bytes = Buffer.from(JSON.stringify(steps));
  const [appends, syncs]: [number[], number[]] = [[], []];
  for (let i = 0; i < ROUNDS; i++) {
    const id = `saga${i}`;
    appends.push(time(() => store.beginSaga({ id, vm: 'web01', verb: 'start', run: id, steps, startedMs: i })));
    store.endSaga(id);
    syncs.push(
      time(() => {
        writeSync(file, bytes);
        fsyncSync(file);
      }),
    );
  }
  closeSync(file);
  store.close();
  rmSync(dir, { recursive: true });
  return { append: median(appends), fsync: median(syncs) };
};
