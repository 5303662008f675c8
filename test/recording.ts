import { readFileSync } from 'node:fs';

export interface Recorded {
  readonly command: string;
  readonly output: string;
  readonly status: number;
}

/** A recorded session: `$ command`, its stdout and stderr together, `[exit N]`. */
export const readRecording = (file: string): Recorded[] => {
  const text = readFileSync(new URL(`recordings/${file}`, import.meta.url), 'utf8');
  return [...text.matchAll(/^\$ (.*)\n([\s\S]*?)\[exit (\d+)\]$/gm)].map((match) => ({
    command: match[1] ?? '',
    output: match[2] ?? '',
    status: Number(match[3]),
  }));
};

/** What a recorded command printed; the nth time it was run. */
export const recorded = (file: string, command: string, nth = 0): string => {
  const found = readRecording(file).filter((each) => each.command === command)[nth];
  if (!found) throw new Error(`no recording of ${command} in ${file}`);
  return found.output;
};
