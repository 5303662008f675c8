const FACTOR: Record<string, number> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

/** Bytes of a size such as `512M` or `2G`; undefined when the text is no size. Units: powers of 1024. */
export const parseBytes = (text: string): number | undefined => {
  const match = /^(\d{1,15})([KMGT]?)(?:i?B)?$/i.exec(text.trim());
  if (!match) return undefined;
  const bytes = Number(match[1]) * (FACTOR[(match[2] ?? '').toUpperCase()] ?? 1);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
};

/** A size for people and for bhyve: the largest unit that divides it exactly. */
export const renderBytes = (bytes: number): string => {
  for (const unit of ['T', 'G', 'M', 'K']) {
    const factor = FACTOR[unit] ?? 1;
    if (bytes >= factor && bytes % factor === 0) return `${bytes / factor}${unit}`;
  }
  return String(bytes);
};

/** Milliseconds of `500ms`, `30s`, `5m`, `90d`; a bare number is seconds. Undefined when it is none of these. */
export const parseDurationMs = (text: string): number | undefined => {
  const match = /^(\d{1,9})(ms|s|m|h|d)?$/.exec(text.trim());
  if (!match) return undefined;
  const factor = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }[match[2] ?? 's'] ?? 1000;
  return Number(match[1]) * factor;
};

/** How long ago, for people: `12s`, `5m`, `3h`, `9d`. Units: milliseconds in. */
export const renderAge = (ms: number): string => {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
};

/** Bytes made safe for a person's terminal: control characters become visible escapes. */
export const escapeControls = (text: string): string =>
  text.replace(
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g,
    (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
