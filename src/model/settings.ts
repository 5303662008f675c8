/** A start that bhyve refuses: what it prints, and how it ends; 134 is an assertion's SIGABRT. */
export interface Refusal {
  readonly status: number;
  readonly text: string;
}

export const refuse = (status: number, text: string): Refusal => ({ status, text: `${text}\n` });

/** A device on the PCI bus, by its keys without the `pci.B.S.F.` before them. */
export interface PciDevice {
  readonly address: readonly [number, number, number];
  readonly keys: ReadonlyMap<string, string>;
}

/** What a bhyve was told, and what of that its first checks made of it. */
export interface Settings {
  readonly values: ReadonlyMap<string, string>;
  readonly name: string;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly devices: readonly PciDevice[];
}

/** Keys that the model understands or that change nothing it shows. Source: bhyve_config(5). */
const KNOWN = [
  /^(name|uuid|cpus|sockets|cores|threads|bootrom|bootvars|acpi_tables|acpi_tables_in_memory)$/,
  /^memory\.(size|wired|guest_in_core)$/,
  /^(rtc\.use_localtime|virtio_msix|destroy_on_poweroff|keyboard\.layout)$/,
  /^x86\.(vmexit_on_hlt|vmexit_on_pause|strictmsr|strictio|verbosemsr|x2apic|mptable)$/,
  /^(vcpu\.\d+\.cpuset|lpc\.com[1-4]\.path|lpc\.fwcfg|lpc\.bootrom|lpc\.bootvars)$/,
  /^tpm\.(type|path|version|intf|ppi)$/,
  /^pci\.\d+\.\d+\.\d+\.[a-z0-9_.]+$/,
];

const FACTOR: Readonly<Record<string, number>> = { '': 1, b: 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

/** A bare number below 1 MiB counts mebibytes (FACTS 1.1). */
const parseMemory = (text: string): number | undefined => {
  const match = /^(\d+)([bkmgt]?)b?$/i.exec(text);
  if (!match) return undefined;
  const bytes = Number(match[1]) * (FACTOR[(match[2] ?? '').toLowerCase()] ?? 1);
  return match[2] === '' && bytes < 2 ** 20 ? bytes * 2 ** 20 : bytes;
};

/** Lines `key=value`; only a line that starts with # or is empty is passed over. A text is what bhyve complains about. */
export const readConfig = (text: string, values: Map<string, string>): Refusal | undefined => {
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const problem = setOption(line, values);
    if (problem) return problem;
  }
  return undefined;
};

export const setOption = (option: string, values: Map<string, string>): Refusal | undefined => {
  const at = option.indexOf('=');
  if (at <= 0 || at === option.length - 1) return refuse(64, `bhyve: invalid configuration option '${option}'`);
  values.set(option.slice(0, at), option.slice(at + 1));
  return undefined;
};

const parseDevices = (values: ReadonlyMap<string, string>): PciDevice[] => {
  const found = new Map<string, { address: [number, number, number]; keys: Map<string, string> }>();
  for (const [key, value] of values) {
    const match = /^pci\.(\d+)\.(\d+)\.(\d+)\.(.+)$/.exec(key);
    if (!match) continue;
    const address: [number, number, number] = [Number(match[1]), Number(match[2]), Number(match[3])];
    const device = found.get(address.join(':')) ?? { address, keys: new Map<string, string>() };
    device.keys.set(match[4] ?? '', value);
    found.set(address.join(':'), device);
  }
  const order = ([bus, slot, func]: readonly [number, number, number]): number => bus * 65_536 + slot * 256 + func;
  return [...found.values()].sort((a, b) => order(a.address) - order(b.address));
};

const topologyAgrees = (values: ReadonlyMap<string, string>, cpus: number): boolean => {
  const parts = ['sockets', 'cores', 'threads'].map((key) => values.get(key));
  if (parts.every((part) => part === undefined)) return true;
  return parts.reduce((product, part) => product * Number(part ?? 1), 1) === cpus;
};

/** What bhyve checks before it opens anything. */
export const parseSettings = (values: ReadonlyMap<string, string>): Settings | Refusal => {
  const strange = [...values.keys()].find((key) => !KNOWN.some((known) => known.test(key)));
  if (strange !== undefined) return refuse(4, `model: unknown configuration key ${strange}`);
  const name = values.get('name');
  // Recorded with 26 more lines.
  if (name === undefined) return refuse(1, 'Usage: bhyve [-aCDeHhPSuWwxY]');
  const cpus = values.get('cpus') ?? '1';
  if (!/^[1-9]\d*$/.test(cpus)) return refuse(4, `bhyve: Invalid value for cpus: '${cpus}'`);
  // unrecorded: the text; the status is FACTS 1.1
  if (!topologyAgrees(values, Number(cpus))) return refuse(4, 'bhyve: Invalid CPU topology');
  const size = values.get('memory.size') ?? '256M';
  const memoryBytes = parseMemory(size);
  if (memoryBytes === undefined) return refuse(64, `bhyve: invalid memsize '${size}'`);
  return { values, name, cpus: Number(cpus), memoryBytes, devices: parseDevices(values) };
};
