/** A text, and where it was found. */
export interface Found {
  readonly where: string;
  readonly text: string;
}

/** base64 of a text that stands anywhere in another one: without what its neighbours would change. */
const inBase64 = (value: string): string[] =>
  [0, 1, 2].map((shift) => {
    const bytes = Buffer.concat([Buffer.alloc(shift), Buffer.from(value)]);
    return bytes
      .subarray(0, bytes.length - (bytes.length % 3))
      .toString('base64')
      .slice(shift === 0 ? 0 : 4);
  });

/** As it may be written: plain, in JSON, percent-encoded, in base64 and in hexadecimal digits. */
export const encodingsOf = (values: readonly string[]): string[] => [
  ...new Set(
    values.flatMap((value) => [
      value,
      JSON.stringify(value).slice(1, -1),
      encodeURIComponent(value),
      Buffer.from(value).toString('hex'),
      // Of a short value nothing telling is left.
      ...inBase64(value).filter((text) => text.length >= 8),
    ]),
  ),
];

/** Where any of the values was found. */
export const leaks = (values: readonly string[], all: readonly Found[]): string[] => {
  const wanted = encodingsOf(values);
  return [...new Set(all.flatMap(({ where, text }) => (wanted.some((each) => text.includes(each)) ? [where] : [])))];
};
