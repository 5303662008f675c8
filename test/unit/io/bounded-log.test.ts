import { mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { BoundedLog } from '../../../src/io/bounded-log.ts';

const LOG_BYTES = 64 * 2 ** 10;
let dir: string;

beforeEach(() => void (dir = mkdtempSync(join(tmpdir(), 'brig-log-'))));
afterEach(() => rmSync(dir, { recursive: true }));

test('history is what was said until then, once, whatever is written meanwhile', async () => {
  const log = new BoundedLog(join(dir, 'other.log'), LOG_BYTES);
  let said = '';
  for (let i = 0; i < 50; i++) {
    said += `line ${i}\n`;
    log.append(Buffer.from(`line ${i}\n`));
    if (i % 7 === 0) expect((await log.tail(10_000)).toString()).toBe(said);
  }
  await log.flush();
  expect(statSync(join(dir, 'other.log')).size).toBe(said.length);
  expect((await new BoundedLog(join(dir, 'other.log'), LOG_BYTES).tail(5)).toString()).toBe(said.slice(-5));
});

test.each([0, 1, 999, 1000, 1001, 1999, 2000, 2001, 2999, 3000, 9999])(
  'history is its last %i bytes, as they were when the first was asked for, whatever its files are called by then',
  async (most) => {
    const path = join(dir, 'other.log');
    const said = Array.from({ length: 3000 }, (_, i) => String.fromCharCode(32 + (i % 90))).join('');
    writeFileSync(`${path}.old`, said.slice(0, 1000));
    writeFileSync(path, said.slice(1000, 2000));
    const log = new BoundedLog(path, 8000);
    log.append(Buffer.from(said.slice(2000)));
    let heard = '';
    for await (const piece of log.pieces(most)) {
      heard += piece.toString();
      writeFileSync(path, 'other', { flag: 'a' });
      renameSync(path, `${path}.old`);
      log.append(Buffer.from('later'));
    }
    expect(heard).toBe(said.slice(Math.max(0, 3000 - most)));
  },
);

test('what is more than it holds loses its beginning, and not what was said last', async () => {
  const log = new BoundedLog(join(dir, 'other.log'), 64);
  log.append(Buffer.from('first'));
  log.append(Buffer.from(`${'x'.repeat(50)}THE END`));
  log.append(Buffer.from('more'));
  expect((await log.tail(11)).toString()).toBe('THE ENDmore');
});
