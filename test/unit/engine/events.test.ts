import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LIMITS } from '../../../src/base/limits.ts';
import { EventLog } from '../../../src/engine/events.ts';
import { Store } from '../../../src/store/store.ts';

const dir = mkdtempSync(join(tmpdir(), 'brig-events-'));
let store: Store;
let events: EventLog;
beforeAll(() => {
  store = new Store(join(dir, 'brig.db'));
  events = new EventLog(store, () => 7);
});
afterAll(() => {
  store.close();
  rmSync(dir, { recursive: true });
});

describe('the log of events', () => {
  test('tells those who listen to one VM nothing of others', () => {
    const [all, one]: [string[], string[]] = [[], []];
    const stop = [events.listen(({ kind }) => all.push(kind)), events.listen(({ kind }) => one.push(kind), 'a')];
    events.add('first', 'operator', 'a');
    events.add('second', 'operator', 'b');
    events.add('third', 'host', undefined);
    for (const each of stop) each();
    events.add('fourth', 'operator', 'a');
    expect([all, one]).toEqual([['first', 'second', 'third'], ['first']]);
  });

  test('has no gap while everything is kept', () => {
    const last = events.list(0, 10).at(-1)?.seq ?? 0;
    events.add('next', 'operator', 'a');
    expect(events.list(last, 10).map(({ kind }) => kind)).toEqual(['next']);
    expect(events.list(1, 2).map(({ kind }) => kind)).toEqual(['second', 'third']);
  });

  test('is bounded, and tells a reader that comes too late what is lost', () => {
    const count = LIMITS.eventsKept + 2_000;
    for (let i = 0; i < count; i++) events.add('many', 'brigd', 'a');
    const first = store.firstEvent() ?? 0;
    expect(events.list(0, 2 * count).length, 'kept').toBeLessThanOrEqual(LIMITS.eventsKept + 1_000);
    const [gap, next] = events.list(2, 2);
    expect(gap).toEqual({
      seq: first - 1,
      atMs: 7,
      vm: undefined,
      kind: 'events.gap',
      cause: 'brigd',
      data: { after: 2, lost: first - 3 },
    });
    expect(next?.seq).toBe(first);
    expect(events.list(first - 1, 1)).toMatchObject([{ seq: first, kind: 'many' }]);
    expect(events.list(0, 1), 'who has no cursor misses nothing').toMatchObject([{ seq: first }]);
  });

  test('has no kind that brigd(8) does not name', () => {
    const manual = readFileSync(new URL('../../../docs/brigd.8', import.meta.url), 'utf8').replaceAll(' ,', '');
    const sources = globSync(new URL('../../../src/', import.meta.url).pathname + '{engine,api,daemon}/*.ts');
    const kinds = sources.flatMap((path) =>
      [...readFileSync(path, 'utf8').matchAll(/(?:\.add|tell|kind:) ?\(?'([a-z]+\.[a-z-]+)'/g)].map(
        (match) => match[1] ?? '',
      ),
    );
    expect(kinds.length).toBeGreaterThan(25);
    expect([...new Set(kinds)].filter((kind) => !manual.includes(` ${kind}`))).toEqual([]);
  });
});
