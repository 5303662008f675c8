const KEPT = 1_000;
const known = new Map<string, readonly string[]>();

/** Words of a listing: the same list for the same text, for thousands of mounts and interfaces have the same few. */
export const wordsOf = (text: string, separator: ',' | ' '): readonly string[] => {
  const key = separator + text;
  const old = known.get(key);
  if (old) return old;
  if (known.size >= KEPT) known.clear();
  const words = text.split(separator).filter(Boolean);
  known.set(key, words);
  return words;
};

/** A word of a listing: the same string for the same text. */
export const wordOf = (text: string): string => wordsOf(text, ' ')[0] ?? '';
