import { readFileSync } from 'node:fs';

export interface Recorded {
  readonly command: string;
  readonly output: string;
  readonly status: number;
}

const isOpen = (command: string): boolean => command.replaceAll(/\\./g, '').split('"').length % 2 === 0;

/** The command goes on as long as a quote of it is open. */
const split = (text: string): { command: string; output: string } => {
  const all = text.split('\n');
  let at = 1;
  while (at < all.length && isOpen(all.slice(0, at).join('\n'))) at += 1;
  return { command: all.slice(0, at).join('\n'), output: all.slice(at).join('\n') };
};

/** A recorded session: `$ command`, its stdout and stderr together, `[exit N]`. */
export const parseRecording = (text: string): Recorded[] =>
  [...text.matchAll(/^\$ (.*\n[\s\S]*?)\[exit (\d+)\]$/gm)].map((match) => ({
    ...split(match[1] ?? ''),
    status: Number(match[2]),
  }));

export const readRecording = (file: string): Recorded[] =>
  parseRecording(readFileSync(new URL(`recordings/${file}`, import.meta.url), 'utf8'));

/** What a recorded command printed; the nth time it was run. */
export const recorded = (file: string, command: string, nth = 0): string => {
  const found = readRecording(file).filter((each) => each.command === command)[nth];
  if (!found) throw new Error(`no recording of ${command} in ${file}`);
  return found.output;
};
