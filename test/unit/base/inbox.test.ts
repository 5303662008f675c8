import { describe, expect, test } from 'vitest';
import { Inbox, Rooms } from '../../../src/base/inbox.ts';

const of = (...pieces: string[]): Inbox =>
  new Inbox(
    // eslint-disable-next-line @typescript-eslint/require-await
    (async function* () {
      for (const piece of pieces) yield Buffer.from(piece);
    })(),
  );

describe('bytes that come in pieces', () => {
  test('are taken in others, empty ones among them', async () => {
    const inbox = of('ab', '', 'cde', '', '', 'f');
    expect((await inbox.peek(2)).toString()).toBe('ab');
    expect((await inbox.take(3)).toString()).toBe('abc');
    const buffer = Buffer.alloc(2);
    expect([await inbox.takeInto(buffer), buffer.toString()]).toEqual([2, 'de']);
    expect([await inbox.takeInto(buffer), buffer.toString('latin1', 0, 1)]).toEqual([1, 'f']);
    expect([await inbox.takeInto(buffer), (await inbox.take(1)).length]).toEqual([0, 0]);
  });

  test('come to an end that is told', async () => {
    const inbox = of('abc', 'def');
    await inbox.take(1);
    const rest: string[] = [];
    for await (const piece of inbox.rest()) rest.push(piece.toString());
    expect(rest).toEqual(['bc', 'def']);
  });
});

test('a source may use its buffers again', async () => {
  const source = async function* (): AsyncGenerator<Buffer> {
    const rooms = new Rooms(4, 2);
    for (let i = 0; i < 100; i++) yield await Promise.resolve(rooms.next(4).fill(i));
  };
  const inbox = new Inbox(source());
  expect((await inbox.peek(30)).subarray(24, 30)).toEqual(Buffer.from([6, 6, 6, 6, 7, 7]));
  const all = await inbox.take(1_000);
  expect(all).toEqual(Buffer.from(Array.from({ length: 400 }, (_, i) => Math.floor(i / 4))));
});

test('rooms take turns', () => {
  const rooms = new Rooms(8, 2);
  const [first, second, third] = [rooms.next(8), rooms.next(4), rooms.next(8)];
  expect([first.buffer === third.buffer, first.buffer === second.buffer, second.length]).toEqual([true, false, 4]);
});
