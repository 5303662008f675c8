import { describe, expect, test } from 'vitest';
import {
  chain,
  NOTHING,
  parseLine,
  renderLine,
  tornEntry,
  Verifier,
  type Anchor,
  type Break,
  type NewEntry,
} from '../../../src/acl/chain.ts';
import { chance as seeded } from '../../soak/chance.ts';

export const entry = (override: Partial<NewEntry> = {}): NewEntry => ({
  ...{ who: 'user:alice', from: 'unix', verb: 'POST /vms/{name}/start', object: 'vm:web', phase: 'begin' },
  ...{ decision: 'allow', rule: 'operator of vm:web', ...override },
});

const linesOf = (count: number): string[] => {
  let head: Anchor = NOTHING;
  return Array.from({ length: count }, (_, i) => {
    const next = chain(head, entry({ saga: `s${i}` }), 1000 + i);
    head = next.entry;
    return next.line;
  });
};

const verify = (lines: readonly string[], known?: readonly Anchor[], wanted?: string): Break | undefined => {
  const verifier = new Verifier(known, wanted);
  for (const line of lines) {
    const wrong = verifier.take(line);
    if (wrong) return wrong;
  }
  return verifier.end();
};

/** As one who can compute hashes, and does so from the nth line on. */
const rechain = (lines: readonly string[], from: number): string[] => {
  let head: Anchor = NOTHING;
  return lines.map((line, i) => {
    const parsed = parseLine(line)?.entry;
    if (!parsed) throw new Error('no entry');
    const next = i < from ? { entry: parsed, line } : chain(head, parsed, parsed.atMs);
    head = next.entry;
    return next.line;
  });
};

const without = (lines: readonly string[], index: number): string[] => lines.filter((_, i) => i !== index);

describe('an entry', () => {
  test('is one line of printable ASCII, whatever is in it, and comes back as it was', () => {
    for (let seed = 0; seed < 500; seed++) {
      const below = seeded(seed);
      const text = (): string =>
        String.fromCharCode(...Array.from({ length: below(40) }, () => below(below(2) ? 0x100 : 0x10000)));
      const said = entry({
        ...{ who: text(), from: text(), verb: text(), object: text(), rule: text(), result: text(), saga: text() },
        ...{ of: below(1000), data: { [text()]: text(), [text()]: below(1_000_000) / 7, __proto__x: text() } },
      });
      const { entry: made, line } = chain({ seq: seed, hash: NOTHING.hash }, said, seed);
      expect(line).toMatch(/^[ -~]+$/);
      expect(parseLine(line)).toEqual({ entry: made, isTrue: true });
      expect(made).toMatchObject(said);
      expect(renderLine(made)).toBe(line);
    }
  });

  test('shows no terminal an escape, and no reader a second line', () => {
    const { line } = chain(NOTHING, entry({ object: 'vm:\u001b]0;x\u0007\n{"seq":2}\u009b31m\u202e' }), 1);
    expect(line).toContain('vm:\\u001b]0;x\\u0007\\n{\\"seq\\":2}\\u009b31m\\u202e');
  });

  test('is cut where it is too long', () => {
    const data = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`key${i}`, 'x'.repeat(10_000)]));
    const { line, entry: made } = chain(NOTHING, entry({ object: 'x'.repeat(1_000_000), data }), 1);
    expect(made.object).toMatch(/^x{509}\.\.\.$/);
    expect(line.length).toBeLessThan(16_384);
    expect(parseLine(line)?.isTrue).toBe(true);
  });

  test('has text for a number that JSON has no word for', () => {
    expect(chain(NOTHING, entry({ data: { a: NaN, b: Infinity, c: 1.5 } }), 1).entry.data).toEqual({
      ...{ a: 'NaN', b: 'Infinity', c: 1.5 },
    });
  });

  test.each(['', '{}', 'null', '[1]', '{"seq":1}', '{"seq":', 'GET / HTTP/1.1', '\u0000'])('%j is none', (line) => {
    expect(parseLine(line)).toBeUndefined();
  });

  test('in another spelling is not true', () => {
    const [line = ''] = linesOf(1);
    for (const other of [line.replace('"seq":1,', '"seq": 1,'), line.replace('alice', '\\u0061lice'), `${line} `])
      expect(parseLine(other)?.isTrue).toBe(false);
    expect(parseLine(line.replace('"atMs"', '"more":1,"atMs"'))?.isTrue).toBe(false);
  });
});

describe('a chain', () => {
  test('that nobody touched is good', () => {
    const lines = linesOf(20);
    expect(verify(lines)).toBeUndefined();
    expect(verify(lines.slice(7))).toBeUndefined();
    expect(verify([])).toBeUndefined();
  });

  test('with any one character changed is broken at its entry', () => {
    const lines = linesOf(9);
    for (let seed = 0; seed < 2000; seed++) {
      const below = seeded(seed);
      const index = below(lines.length);
      const line = lines[index] ?? '';
      const at = below(line.length);
      const other = String.fromCharCode(32 + below(95));
      if (other === line[at]) continue;
      const changed = lines.with(index, line.slice(0, at) + other + line.slice(at + 1));
      const found = verify(changed);
      expect(found, `seed ${seed}: ${changed[index]}`).toBeDefined();
      // What is no entry any more shows with the next one, as the number that is missing.
      if (index > 0) expect(found?.seq).toBe(index + 1);
    }
  });

  test('with a line removed, repeated, swapped or put in is broken there', () => {
    const lines = linesOf(9);
    for (let i = 1; i < 8; i++) {
      const [line = '', next = ''] = [lines[i], lines[i + 1]];
      expect(verify(without(lines, i))).toEqual({ seq: i + 1, why: `expected entry ${i + 1}, got ${i + 2}` });
      expect(verify(lines.toSpliced(i, 0, line))?.seq).toBe(i + 2);
      expect(verify(lines.toSpliced(i, 2, next, line))?.seq).toBe(i + 1);
      expect(verify(lines.toSpliced(i, 0, 'something else'))?.seq).toBe(i + 1);
    }
  });

  test('forged from an entry on is broken where an honest one follows', () => {
    const lines = linesOf(9);
    const forged = lines.with(4, chain(NOTHING, entry({ decision: 'deny' }), 1).line.replace('"seq":1,', '"seq":5,'));
    expect(verify(forged)).toEqual({ seq: 5, why: 'its hash is not of what it says' });
    const head = parseLine(lines[3] ?? '')?.entry as Anchor;
    const linked = lines.with(4, chain(head, entry({ who: 'root' }), 1).line);
    expect(verify(linked)).toEqual({ seq: 6, why: 'it does not follow entry 5' });
  });

  test('rewritten whole, or cut short, is known by an entry remembered elsewhere', () => {
    const lines = linesOf(9);
    const anchor = parseLine(lines[6] ?? '')?.entry as Anchor;
    const lie = lines.with(2, (lines[2] ?? '').replace('alice', 'carol'));
    const rewritten = rechain(lie, 2);
    expect(verify(rewritten)).toBeUndefined();
    expect(verify(rewritten, [anchor])).toEqual({ seq: 7, why: 'it is not the entry that was there before' });
    expect(verify(rewritten.slice(7), [anchor])).toEqual({
      ...{ seq: 8, why: 'it does not follow the entry 7 that was there' },
    });
    expect(verify(lines.slice(0, 5), [anchor])).toEqual({ seq: 6, why: 'the log ends before it; entry 7 was there' });
    expect(verify([], [anchor])).toEqual({ seq: 1, why: 'the log ends before it; entry 7 was there' });
    expect(verify(lines, [anchor])).toBeUndefined();
    expect(verify(lines.slice(7), [anchor])).toBeUndefined();
  });

  test('has the hash that somebody wrote down, or not', () => {
    const lines = linesOf(3);
    expect(verify(lines, [], parseLine(lines[1] ?? '')?.entry.hash)).toBeUndefined();
    expect(verify(lines, [], 'f'.repeat(64))).toMatchObject({
      seq: 3,
      why: expect.stringContaining('no entry up to') as string,
    });
  });

  test('may hold torn lines where the entry after them tells of exactly these', () => {
    const lines = linesOf(3);
    const head = parseLine(lines[2] ?? '')?.entry as Anchor;
    const torn = '{"seq":4,"atM';
    const told = chain(head, tornEntry(`${torn}\n\u00ff\n`), 9).line;
    expect(verify([...lines, torn, '\u00ff', told])).toBeUndefined();
    const why = expect.stringContaining('are no entry') as string;
    expect(verify([...lines, torn, '\u00fe', told])).toEqual({ seq: 4, why });
    expect(verify([...lines, torn, told])).toEqual({ seq: 4, why });
    expect(verify([...lines, torn, '\u00ff', torn, told])).toEqual({ seq: 4, why });
    expect(verify([...lines, torn])).toEqual({ seq: 4, why });
  });
});
