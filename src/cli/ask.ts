import { BrigError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';

const [CTRL_C, CTRL_D, BACKSPACE, LINE_END, CTRL_U, RETURN, DELETE] = [3, 4, 8, 10, 21, 13, 127];

/** A line that is typed, with what was taken back; undefined while it goes on. Errors: saga.cancelled. */
const typed = (line: number[], byte: number): boolean => {
  if (byte === CTRL_C) throw new BrigError('saga.cancelled', 'read a secret: cancelled');
  if (byte === RETURN || byte === LINE_END || byte === CTRL_D) return true;
  if (byte === CTRL_U) line.length = 0;
  else if (byte === BACKSPACE || byte === DELETE) takeBack(line);
  else line.push(byte);
  return false;
};

/** A character of UTF-8 has one byte that does not begin with 10. */
const takeBack = (line: number[]): void => {
  for (let byte = line.pop(); byte !== undefined && (byte & 0xc0) === 0x80; byte = line.pop());
};

/** One line from a terminal that shows none of it. */
const askTerminal = async (prompt: string): Promise<Buffer> => {
  const { stdin, stderr } = process;
  stdin.setRawMode(true);
  stderr.write(prompt);
  const line: number[] = [];
  try {
    for await (const chunk of stdin.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>)
      for (const byte of chunk) if (typed(line, byte)) return Buffer.from(line);
    throw new BrigError('saga.cancelled', 'read a secret: the terminal went away');
  } finally {
    stdin.setRawMode(false);
    stdin.pause();
    stderr.write('\n');
  }
};

/** One line from a terminal that shows it. Errors: saga.cancelled, for Ctrl-C and Ctrl-D. */
export const askLine = async (question: string): Promise<string> => {
  const { createInterface } = await import('node:readline/promises');
  const asked = createInterface({ input: process.stdin, output: process.stderr });
  // Not every Node ends the question with the terminal.
  const gone = new Promise<never>((_, reject) => asked.once('close', () => reject(new Error('closed'))));
  try {
    return (await Promise.race([asked.question(question), gone])).trim();
  } catch {
    throw new BrigError('saga.cancelled', 'read an answer: cancelled');
  } finally {
    asked.close();
  }
};

/** All of the standard input, without the line end that echo(1) adds. */
const readInput = async (): Promise<Buffer> => {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > LIMITS.secretBytes + 1)
      throw new BrigError('usage.invalid', `read a secret: expected at most ${LIMITS.secretBytes} bytes, got more`);
    chunks.push(chunk);
  }
  const all = Buffer.concat(chunks);
  return all.at(-1) === LINE_END ? all.subarray(0, -1) : all;
};

/**
 * A secret from the terminal, not shown and asked twice where it is new, or from the standard input.
 * Errors: usage.invalid when both differ; saga.cancelled.
 */
export const askSecret = async (what: string, isNew: boolean): Promise<Buffer> => {
  if (!process.stdin.isTTY) return await readInput();
  const first = await askTerminal(`${what}: `);
  if (!isNew || first.equals(await askTerminal(`${what} again: `))) return first;
  throw new BrigError('usage.invalid', `read ${what.toLowerCase()}: expected the same twice, got two`);
};
