import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { BrigError, messageOf } from '../../base/errors.ts';
import { LIMITS } from '../../base/limits.ts';
import { parseBytes } from '../../base/units.ts';
import { printJson, type Call, type CliCommand, type Values } from '../command.ts';
import { withProgress } from '../progress.ts';

const asList = (value: Values[string]): string[] => (Array.isArray(value) ? value.map(String) : []);
const asText = (value: Values[string]): string | undefined => (typeof value === 'string' ? value : undefined);
const asNumber = (text: string | undefined): unknown =>
  text !== undefined && /^\d+$/.test(text) ? Number(text) : text;
const given = (entries: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(entries).filter(([, value]) => value !== undefined));

/** `20G`, `zvol:20G`, `file:20G` or a path of a read-only image. */
const toDisk = (text: string): unknown => {
  const match = /^(zvol|file):(.+)$/.exec(text);
  if (match) return { [match[1] ?? '']: { size: match[2] } };
  return parseBytes(text) === undefined ? { image: resolve(text) } : { size: text };
};

/** `NETWORK` or `NETWORK:direct`. */
const toNic = (text: string): unknown => {
  const [network, mode] = text.split(':');
  return given({ network, mode });
};

const toLabel = (text: string): [string, string] => {
  const at = text.indexOf('=');
  return at === -1 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
};

const toFirmware = (values: Values): unknown => {
  const [rom, uefi, vars] = [asText(values.rom), asText(values.uefi), asText(values['uefi-vars'])];
  if (values['test-rom'] === true) return { builtin: 'test' };
  if (rom !== undefined) return { rom: resolve(rom) };
  return uefi === undefined ? undefined : { uefi: given({ code: resolve(uefi), vars: vars && resolve(vars) }) };
};

/** A document from flags; what is wrong in it the schema says. */
export const toDocument = (name: string, values: Values): unknown =>
  given({
    name,
    cpus: asNumber(asText(values.cpus)),
    memory: asText(values.memory),
    image: asText(values.image),
    firmware: toFirmware(values),
    disks: values.disk === undefined ? undefined : asList(values.disk).map(toDisk),
    nics: values.nic === undefined ? undefined : asList(values.nic).map(toNic),
    restart: values.restart === undefined ? undefined : { policy: values.restart },
    autostart: values.autostart,
    labels: Object.fromEntries(asList(values.label).map(toLabel)),
  });

const readDocument = async (path: string): Promise<string> => {
  try {
    const text = await readFile(path === '-' ? '/dev/stdin' : path, 'utf8');
    if (Buffer.byteLength(text) > LIMITS.documentBytes)
      throw new Error(`expected at most ${LIMITS.documentBytes} bytes, got more`);
    return text;
  } catch (error) {
    throw new BrigError('spec.invalid', `read ${path}: ${messageOf(error)}`);
  }
};

/** Checked here as well as by brigd: problems show without a daemon, with the file's name. */
const parse = async (call: Call): Promise<unknown> => {
  const [{ parseVmDocument }, { parseText }] = await Promise.all([
    import('../../spec/vm.ts'),
    import('../../spec/document.ts'),
  ]);
  const file = asText(call.values.file);
  const name = call.operands[0];
  if (file === undefined && name === undefined)
    throw new BrigError('usage.invalid', 'read arguments: expected -f FILE or NAME, got neither', {
      hint: `usage: ${createCommand.usage}`,
    });
  if (file !== undefined && name !== undefined)
    throw new BrigError('usage.invalid', 'read arguments: expected -f FILE or NAME, got both', {
      hint: `usage: ${createCommand.usage}`,
    });
  const document = file === undefined ? toDocument(name ?? '', call.values) : parseText(await readDocument(file), file);
  parseVmDocument(document, file ?? 'flags');
  return document;
};

const multiple = { type: 'string', multiple: true } as const;

export const createCommand: CliCommand = {
  usage:
    'brig create -f FILE | NAME --image IMAGE|--rom FILE|--uefi CODE --uefi-vars VARS|--test-rom [--cpus N] [--memory 1G] [--disk 20G|zvol:20G|file:20G|FILE]... [--nic NETWORK[:direct]]... [--restart never|on-failure|always] [--autostart] [--label K=V]...',
  summary: 'define a VM from a document or from flags, and make its disks',
  options: {
    file: { type: 'string', short: 'f' },
    image: { type: 'string' },
    cpus: { type: 'string' },
    memory: { type: 'string' },
    rom: { type: 'string' },
    uefi: { type: 'string' },
    'uefi-vars': { type: 'string' },
    'test-rom': { type: 'boolean' },
    disk: multiple,
    nic: multiple,
    restart: { type: 'string' },
    autostart: { type: 'boolean' },
    label: multiple,
  },
  operands: [0, 1],
  run: async (call) => {
    const spec = (await parse(call)) as { name: string };
    const vm = await withProgress(call.client, `create ${spec.name}`, true, (on) => call.client.create(spec, on));
    if (call.json) printJson(vm);
  },
};
