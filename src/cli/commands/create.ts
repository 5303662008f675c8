import { resolve } from 'node:path';
import type { OperationListener } from '../../api/wire.ts';
import { BrigError } from '../../base/errors.ts';
import { parseBytes } from '../../base/units.ts';
import type { VmView } from '../../engine/view.ts';
import { printJson, type Call, type CliCommand, type Options, type Values } from '../command.ts';
import { asList, asNumber, asText, given, readDocument, toLabel } from '../document.ts';
import { withProgress } from '../progress.ts';
import { SET } from './template.ts';

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
    labels: values.label === undefined ? undefined : Object.fromEntries(asList(values.label).map(toLabel)),
  });

const usage = (reason: string): BrigError =>
  new BrigError('usage.invalid', `read arguments: ${reason}`, { hint: `usage: ${createCommand.usage}` });

/** A template that the node fills in, with what anybody may choose of it. */
interface Chosen {
  readonly template: string;
  readonly chosen: object;
}

/** What is asked of brigd. Each input is read once: it may be a pipe. */
interface Asked {
  /** Undefined: the node makes it, of a template that is not here. */
  readonly document?: unknown;
  /** What to say when its image is not here. */
  readonly hint?: string;
  /** For who may not say a document himself, too. */
  readonly chosen?: Chosen | undefined;
}

/** A template as it stands makes a VM of its own name. */
const fromFile = async (file: string, values: Values): Promise<Asked> => {
  const [{ isTemplate, parseTemplate }, { parseText }] = await Promise.all([
    import('../../spec/template.ts'),
    import('../../spec/document.ts'),
  ]);
  const text = await readDocument(file);
  const document = parseText(text, file);
  if (!isTemplate(document)) {
    if (values.set !== undefined) throw usage('expected a template with --set, got a VM document');
    return { document };
  }
  const template = parseTemplate(text, file);
  return (await import('../template.ts')).documentOf(template, template.template, values);
};

type Said = Readonly<Record<string, unknown>>;

/** A template's seed says what the flags do not. */
const merge = (document: Said, flags: Said): Said => ({
  ...document,
  ...flags,
  ...(document.cloudInit && flags.cloudInit ? { cloudInit: { ...document.cloudInit, ...flags.cloudInit } } : {}),
});

/** What may be said beside a template by whoever may create of that template alone. */
const WITH_TEMPLATE = ['template', 'set', 'label', 'cloud-init', 'hostname', 'ssh-key', 'user-data', 'json'];

/** What anybody may choose of a template; undefined when more than that is said. */
const chosenOf = (
  template: string,
  flags: Said,
  set: ReadonlyMap<string, string>,
  values: Values,
): Chosen | undefined => {
  const { name, cloudInit, labels } = flags;
  if (template.includes('/') || !Object.keys(values).every((key) => WITH_TEMPLATE.includes(key))) return undefined;
  return { template, chosen: given({ name, set: Object.fromEntries(set), cloudInit, labels }) };
};

const fromTemplate = async (template: string, flags: Said, { client, values }: Call): Promise<Asked> => {
  const { documentOf, isOfNode, openTemplate, settingsOf } = await import('../template.ts');
  const chosen = chosenOf(template, flags, settingsOf(values), values);
  if (chosen && (await isOfNode(template, client))) return { chosen };
  if (client.isElsewhere && !template.includes('/'))
    throw usage('expected --set, --label and what cloud-init is told beside a template of another node, got more');
  const { document, hint } = documentOf(await openTemplate(template), String(flags.name), values);
  return { document: merge(document, flags), ...(hint === undefined ? {} : { hint }), chosen };
};

/** Flags say more than the template does. */
const fromFlags = async (name: string, call: Call): Promise<Asked> => {
  const { values } = call;
  const template = asText(values.template);
  const cloudInit = await (await import('../cloud-init.ts')).cloudInitOf(values);
  const flags = { ...(toDocument(name, values) as Said), ...(cloudInit ? { cloudInit } : {}) };
  if (template !== undefined) return await fromTemplate(template, flags, call);
  if (values.set !== undefined) throw usage('expected --template with --set, got none');
  return { document: flags };
};

/** Checked here as well as by brigd: problems show without a daemon, with the file's name. */
const parse = async (call: Call): Promise<Asked> => {
  const { values, operands } = call;
  const { parseVmDocument } = await import('../../spec/vm.ts');
  const file = asText(values.file);
  const name = operands[0];
  if (file === undefined && name === undefined) throw usage('expected -f FILE or NAME, got neither');
  if (file !== undefined && name !== undefined) throw usage('expected -f FILE or NAME, got both');
  const asked = file === undefined ? await fromFlags(name ?? '', call) : await fromFile(file, values);
  if (asked.document !== undefined) parseVmDocument(asked.document, file ?? 'flags');
  return asked;
};

const OPTIONS: Options = {
  file: { type: 'string', short: 'f', about: 'a document, brig.yaml(5); - reads stdin', value: 'FILE', is: 'file' },
  template: { type: 'string', about: 'begin with this template', value: 'TEMPLATE', is: 'template' },
  ...SET,
  image: { type: 'string', about: 'begin with the disks of this image', value: 'IMAGE', is: 'image' },
  cpus: { type: 'string', about: 'how many processors', value: 'N', is: 'text' },
  memory: { type: 'string', about: 'how much memory: 512M, 2G', value: 'SIZE', is: 'text' },
  rom: { type: 'string', about: 'a boot ROM', value: 'FILE', is: 'file' },
  uefi: { type: 'string', about: 'UEFI firmware', value: 'CODE', is: 'file' },
  'uefi-vars': { type: 'string', about: "what the VM's own UEFI variables begin with", value: 'VARS', is: 'file' },
  'test-rom': { type: 'boolean', about: 'the guest of 64 KiB that brig comes with' },
  disk: {
    ...{ type: 'string', multiple: true, value: '20G|zvol:20G|file:20G|FILE', is: 'file' },
    about: 'a new disk of this size, or a file that is only read',
  },
  nic: {
    ...{ type: 'string', multiple: true, value: 'NETWORK[:direct]', is: 'network' },
    about: "an interface on this network; direct: on the host's bridge itself",
  },
  'cloud-init': { type: 'boolean', about: 'a seed for cloud-init even where no other flag asks for one' },
  hostname: { type: 'string', about: "the guest's own name", value: 'NAME', is: 'text' },
  'ssh-key': {
    ...{ type: 'string', multiple: true, value: 'FILE|KEY', is: 'file' },
    about: 'a public key that may log in to the guest',
  },
  'user-data': { type: 'string', about: 'user data for cloud-init', value: 'FILE', is: 'file' },
  restart: {
    ...{ type: 'string', value: 'POLICY', is: ['never', 'on-failure', 'always'] },
    about: 'whether it is started again when it ends: never, on-failure or always',
  },
  autostart: { type: 'boolean', about: 'start it when the host boots' },
  label: { type: 'string', multiple: true, about: 'a label, to select VMs by', value: 'K=V', is: 'label' },
};

/** Whoever may not say a document himself may still choose of a template that is the node's. */
const make = async ({ client }: Call, { document, chosen }: Asked, on: OperationListener): Promise<VmView> => {
  try {
    if (document !== undefined || !chosen) return await client.create(document, on);
  } catch (error) {
    if (!chosen || !(error instanceof BrigError) || error.code !== 'acl.denied') throw error;
  }
  return await client.createOf(chosen.template, chosen.chosen, on);
};

export const createCommand: CliCommand = {
  usage:
    'brig create -f FILE | NAME --template TEMPLATE [--set KEY=VALUE]...|--image IMAGE|--rom FILE|--uefi CODE --uefi-vars VARS|--test-rom [--cpus N] [--memory 1G] [--disk 20G|zvol:20G|file:20G|FILE]... [--nic NETWORK[:direct]]... [--cloud-init] [--hostname NAME] [--ssh-key FILE|KEY]... [--user-data FILE] [--restart never|on-failure|always] [--autostart] [--label K=V]...',
  summary: 'define a VM from a document or from flags, and make its disks',
  options: OPTIONS,
  operands: [0, 1],
  complete: ['text'],
  examples: [
    'brig create -f web01.yaml',
    'brig create hello --test-rom --nic default',
    'brig create web01 --template debian --set memory=2G --ssh-key id_ed25519.pub --nic lan',
    'brig create db02 --image debian:13 --cpus 4 --memory 8G --disk 100G --label tier=db',
  ],
  run: async (call) => {
    const asked = await parse(call);
    const { document, hint } = asked;
    const what = `create ${call.operands[0] ?? (document as { name: string }).name}`;
    const made = withProgress(call.client, what, true, (on) => make(call, asked, on));
    const vm = await made.catch((error: unknown) => {
      if (hint === undefined || !(error instanceof BrigError) || error.code !== 'image.unknown') throw error;
      throw new BrigError(error.code, error.message, { hint });
    });
    if (call.json) printJson(vm);
  },
};
