import { PassThrough } from 'node:stream';
import { afterEach, expect, test, vi } from 'vitest';
import { askLine } from '../../../src/cli/ask.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

/** What becomes of a question at a terminal at which this is typed, which stays as it was before. */
const typed = async (text: string, isEnd = false): Promise<string> => {
  const terminal = Object.assign(new PassThrough(), { isTTY: true, setRawMode: () => undefined });
  vi.spyOn(process, 'stdin', 'get').mockReturnValue(terminal as unknown as typeof process.stdin);
  const screen = Object.assign(new PassThrough(), { isTTY: true, columns: 80 });
  vi.spyOn(process, 'stderr', 'get').mockReturnValue(screen as unknown as typeof process.stderr);
  const asked = askLine('yes or no: ');
  await vi.waitFor(() => expect(String(screen.read() ?? '')).toContain('yes or no'));
  terminal.write(text);
  if (isEnd) terminal.end();
  return await asked.finally(() => expect(terminal.isPaused()).toBe(true));
};

test('an answer is a line', async () => {
  expect(await typed('yes\r')).toBe('yes');
});

test.each([
  ['Ctrl-C', '\x03', false],
  ['Ctrl-D', '\x04', false],
  ['a terminal that goes away', '', true],
])('%s is no answer', async (_, text, isEnd) => {
  await expect(typed(text, isEnd)).rejects.toMatchObject({ code: 'saga.cancelled' });
});
