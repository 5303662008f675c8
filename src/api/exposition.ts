export interface Sample {
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number;
  /** Of a histogram: `_bucket`, `_sum` or `_count`. */
  readonly suffix?: string;
}

const escapeHelp = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
/** Few have anything to escape, and there are many. */
const escapeLabel = (text: string): string => (/[\\\n"]/.test(text) ? escapeHelp(text).replaceAll('"', '\\"') : text);

const renderLabels = (labels: Sample['labels']): string => {
  if (!labels) return '';
  let text = '';
  for (const name in labels) text += `${text === '' ? '{' : ','}${name}="${escapeLabel(labels[name] ?? '')}"`;
  return text === '' ? '' : `${text}}`;
};

const renderValue = (value: number): string =>
  value === Infinity ? '+Inf' : value === -Infinity ? '-Inf' : String(value);

/** Metrics as Prometheus reads them. Source: Prometheus, text exposition format 0.0.4. */
export class Exposition {
  readonly #lines: string[] = [];

  /** One family: nothing at all where it has no samples. */
  family(name: string, type: 'counter' | 'gauge' | 'histogram', help: string, samples: Iterable<Sample>): void {
    const lines: string[] = [];
    for (const { labels, value, suffix = '' } of samples)
      lines.push(`${name}${suffix}${renderLabels(labels)} ${renderValue(value)}`);
    if (lines.length === 0) return;
    this.#lines.push(`# HELP ${name} ${escapeHelp(help)}`, `# TYPE ${name} ${type}`);
    for (const line of lines) this.#lines.push(line);
  }

  render(): string {
    return this.#lines.length === 0 ? '' : `${this.#lines.join('\n')}\n`;
  }
}
