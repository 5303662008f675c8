import { expect, test } from 'vitest';
import { Resume } from '../../../src/cli/resume.ts';

const SAID = Array.from({ length: 100 }, (_, i) => `line ${i}\r\n`).join('');

/** What is printed after a loss, when this is the history of the new attachment, and this comes live. */
const printed = (seen: string, history: string, live = '', pieces = 7): string => {
  const resume = new Resume();
  resume.begin(0);
  resume.feed(Buffer.from(seen));
  resume.begin(history.length);
  const all = Buffer.from(history + live);
  let out = '';
  for (let at = 0; at < all.length; at += pieces) out += resume.feed(all.subarray(at, at + pieces)).toString();
  return out;
};

test('the first history is printed as it comes', () => {
  const resume = new Resume();
  resume.begin(4);
  expect(resume.feed(Buffer.from('ab')).toString()).toBe('ab');
});

test.each([1, 7, 64, 100_000])('what was printed is not printed again, in pieces of %i', (pieces) => {
  expect(printed(SAID, SAID, '', pieces)).toBe('');
  expect(printed(SAID, `${SAID}more`, ' live', pieces)).toBe('more live');
  expect(printed(`${SAID}${SAID}`, `${SAID.slice(100)}more`, '', pieces)).toBe('more');
});

test('what brig said in between is not looked for', () => {
  const cut = SAID.length - 90;
  const withNote = `${SAID.slice(0, cut)}\r\n[brig: bob took over; you read]\r\n${SAID.slice(cut)}`;
  expect(printed(withNote, `${SAID}more`)).toBe('more');
});

test('all of it is printed when what was seen is not there, or is hardly anything', () => {
  expect(printed(SAID, 'another boot')).toBe('another boot');
  expect(printed('$ ', 'a $ b $ c')).toBe('a $ b $ c');
});

test('a second loss goes on from what was printed after the first', () => {
  const resume = new Resume();
  resume.begin(0);
  resume.feed(Buffer.from(SAID));
  resume.begin(SAID.length + 4);
  expect(resume.feed(Buffer.from(`${SAID}one `)).toString()).toBe('one ');
  resume.begin(SAID.length + 8);
  expect(resume.feed(Buffer.from(`${SAID}one two `)).toString()).toBe('two ');
});
