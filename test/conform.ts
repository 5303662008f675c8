/** Replays recordings of a FreeBSD on the model: `npm run conform -- FILE...`. Exit 0 when nothing differs. */
import { replay } from './unit/model/replay.ts';
import { foreignSession } from './unit/model/foreign.ts';

const indent = (text: string): string => text.replaceAll(/^/gm, '    ');
const say = (text: string): void => void process.stdout.write(`${text}\n`);

const files = process.argv.slice(2);
if (files.length === 0) {
  process.stderr.write('usage: npm run conform -- FILE...\n');
  process.exit(64);
}
const sums = { same: 0, differs: 0, notCovered: 0 };
for (const file of files) {
  const { compared, notCovered } = await replay(foreignSession(file));
  for (const { command, got, wanted } of compared) {
    const same = got === wanted;
    sums[same ? 'same' : 'differs'] += 1;
    say(`${same ? 'same       ' : 'differs    '} ${command}`);
    if (!same) say(`  FreeBSD:\n${indent(wanted)}\n  model:\n${indent(got)}`);
  }
  sums.notCovered += notCovered.length;
  for (const command of notCovered) say(`not covered ${command}`);
}
say(`${sums.same} same, ${sums.differs} differ, ${sums.notCovered} not covered`);
process.exitCode = sums.differs === 0 ? 0 : 1;
