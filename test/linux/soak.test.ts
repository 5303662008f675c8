import { expect, test } from 'vitest';
import { Soak } from '../soak/soak.ts';

/** A host that is slow takes its time to converge. */
const TIMEOUT_MS = 240_000;

/** The long form is `npm run soak`. */
test(
  'whatever people and the host do to VMs, brigd and its disk, all is told as it is in the end, and goes without a trace',
  async () => {
    const report = await new Soak({ vms: 6, seconds: 15, seed: 4 }).run();
    const kinds = ['kill QEMU of', 'kill supervisor of', 'end brigd by', 'fill the disk', 'ip', 'restart'];
    expect(
      kinds.filter((kind) => !report.actions.has(kind)),
      'what did not happen',
    ).toEqual([]);
    expect([...report.refused.keys()].filter((code) => /^(saga\.failed|api)/.test(code))).toEqual([]);
  },
  TIMEOUT_MS,
);
