/** One sample as a reader of the text format 0.0.4 has it. */
export interface Read {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*/;
const LABEL = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"/;

const unescape = (text: string): string => text.replaceAll(/\\(.)/g, (_, char: string) => (char === 'n' ? '\n' : char));

const readLabels = (text: string): { labels: Record<string, string>; rest: string } => {
  const labels: Record<string, string> = {};
  let rest = text;
  if (!rest.startsWith('{')) return { labels, rest };
  rest = rest.slice(1);
  while (!rest.startsWith('}')) {
    const [all, name = '', value = ''] = LABEL.exec(rest) ?? [];
    if (all === undefined) throw new Error(`expected a label: ${rest}`);
    if (Object.hasOwn(labels, name)) throw new Error(`label ${name} twice`);
    labels[name] = unescape(value);
    rest = rest.slice(all.length);
    if (rest.startsWith(',')) rest = rest.slice(1);
    else if (!rest.startsWith('}')) throw new Error(`expected , or }: ${rest}`);
  }
  return { labels, rest: rest.slice(1) };
};

const readValue = (text: string): number => {
  if (text === '+Inf') return Infinity;
  if (text === '-Inf') return -Infinity;
  if (text !== 'NaN' && !/^-?\d+(\.\d+)?(e[+-]?\d+)?$/.test(text)) throw new Error(`expected a number: ${text}`);
  return Number(text);
};

const readSample = (line: string): Read => {
  const name = NAME.exec(line)?.[0] ?? '';
  const { labels, rest } = readLabels(line.slice(name.length));
  if (name === '' || !rest.startsWith(' ')) throw new Error(`expected a sample: ${line}`);
  return { name, labels, value: readValue(rest.slice(1)) };
};

const familyOf = (name: string, types: ReadonlyMap<string, string>): string => {
  const base = name.replace(/_(bucket|sum|count)$/, '');
  return types.get(base) === 'histogram' ? base : name;
};

const checkHistogram = (family: string, samples: readonly Read[]): void => {
  const groups = new Map<string, Read[]>();
  for (const each of samples) {
    const rest = Object.entries(each.labels).filter(([name]) => name !== 'le');
    const key = JSON.stringify(rest);
    groups.set(key, [...(groups.get(key) ?? []), each]);
  }
  for (const group of groups.values()) {
    const buckets = group.filter(({ name }) => name === `${family}_bucket`);
    const count = group.find(({ name }) => name === `${family}_count`);
    if (buckets.at(-1)?.labels.le !== '+Inf' || buckets.at(-1)?.value !== count?.value)
      throw new Error(`${family}: the last bucket is not all`);
    if (!group.some(({ name }) => name === `${family}_sum`)) throw new Error(`${family}: no sum`);
    buckets.forEach(({ value, labels }, i) => {
      const before = buckets[i - 1];
      if (before && (before.value > value || readValue(before.labels.le ?? '') >= readValue(labels.le ?? '')))
        throw new Error(`${family}: buckets are not cumulative`);
    });
  }
};

/** A line that is no sample: notes the type of a family. */
const readComment = (line: string, types: Map<string, string>): void => {
  const [, what, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? [];
  if (what === undefined) throw new Error(`expected HELP or TYPE: ${line}`);
  if (what === 'HELP') {
    if (rest.replaceAll(/\\[\\n]/g, '').includes('\\')) throw new Error(`help of ${name}: a backslash alone`);
    return;
  }
  if (types.has(name)) throw new Error(`type of ${name} twice`);
  if (!/^(counter|gauge|histogram)$/.test(rest)) throw new Error(`type of ${name}: ${rest}`);
  types.set(name, rest);
};

const checkFamily = (family: string, types: ReadonlyMap<string, string>, families: string[]): void => {
  if (!types.has(family)) throw new Error(`no type of ${family}`);
  if (types.get(family) === 'counter' && !family.endsWith('_total')) throw new Error(`${family}: not _total`);
  if (families.at(-1) === family) return;
  if (families.includes(family)) throw new Error(`${family} in two places`);
  families.push(family);
};

/**
 * Reads the text format, and refuses whatever it does not allow: a family in two places, a sample without its type, the
 * same series twice, a histogram that does not add up. Source: Prometheus, text exposition format 0.0.4.
 */
export const readMetrics = (text: string): Read[] => {
  if (text !== '' && !text.endsWith('\n')) throw new Error('expected a line feed at the end');
  const types = new Map<string, string>();
  const families: string[] = [];
  const series = new Set<string>();
  const samples: Read[] = [];
  for (const line of text.split('\n').slice(0, -1)) {
    if (line.startsWith('#')) {
      readComment(line, types);
      continue;
    }
    const sample = readSample(line);
    checkFamily(familyOf(sample.name, types), types, families);
    const key = `${sample.name} ${JSON.stringify(Object.entries(sample.labels).sort())}`;
    if (series.has(key)) throw new Error(`twice: ${key}`);
    series.add(key);
    samples.push(sample);
  }
  for (const [family, type] of types)
    if (type === 'histogram')
      checkHistogram(
        family,
        samples.filter(({ name }) => familyOf(name, types) === family),
      );
  return samples;
};
