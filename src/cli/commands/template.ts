import { BrigError } from '../../base/errors.ts';
import { escapeControls } from '../../base/units.ts';
import { listTemplates } from '../../io/templates.ts';
import { parseTemplate, renderParameter, renderTemplate, type Template } from '../../spec/template.ts';
import { print, printJson, type Call, type CliCommand } from '../command.ts';
import { table } from '../render.ts';
import { importLine, openTemplate, settingsOf } from '../template.ts';

const usage = (expected: string): BrigError =>
  new BrigError('usage.invalid', `read arguments: expected ${expected}`, { hint: `usage: ${templateCommand.usage}` });

const list = async (call: Call): Promise<void> => {
  const all = [...(await listTemplates()).values()].map(({ text, path }) => ({ path, ...parseTemplate(text, path) }));
  if (call.json) return printJson(all);
  const rows = all.map(({ template, summary }) => [template, summary]);
  print(
    table([['TEMPLATE', 'WHAT'], ...rows])
      .map((row) => row.join('  ').trimEnd())
      .join('\n'),
  );
};

const render = (template: Template): string => {
  const line = importLine(template);
  const rows = Object.entries(template.parameters).map(([name, each]) => [
    `  ${name}`,
    each.default === undefined ? 'required' : String(each.default),
    each.summary ?? renderParameter(each),
  ]);
  return [
    `${template.template}: ${template.summary}`,
    ...(template.source?.url === undefined ? [] : [`source: ${template.source.url}`]),
    ...(template.source === undefined ? [] : [`verify: ${template.source.verify}`]),
    ...(line === undefined ? [] : [`import: ${line}`]),
    ...(rows.length === 0 ? [] : ['parameters:', ...table(rows).map((row) => row.join('  ').trimEnd())]),
  ]
    .map(escapeControls)
    .join('\n');
};

const VERBS: Readonly<Record<string, (call: Call, name: string | undefined) => Promise<void>>> = {
  list,
  show: async (call, name) => {
    if (name === undefined) throw usage('a template after show, got nothing');
    const template = await openTemplate(name);
    if (call.json) printJson(template);
    else print(render(template));
  },
  render: async (call, name) => {
    if (name === undefined) throw usage('a template after render, got nothing');
    const vm = typeof call.values.name === 'string' ? call.values.name : 'vm';
    printJson(renderTemplate(await openTemplate(name), vm, settingsOf(call.values)));
  },
};

export const templateCommand: CliCommand = {
  usage: 'brig template list | show TEMPLATE | render TEMPLATE [--name NAME] [--set KEY=VALUE]... [--json]',
  summary: 'documents with parameters, to make VMs of',
  options: { set: { type: 'string', multiple: true }, name: { type: 'string' } },
  operands: [1, 2],
  run: async (call) => {
    const [verb = '', name] = call.operands;
    const work = Object.hasOwn(VERBS, verb) ? VERBS[verb] : undefined;
    if (!work) throw usage(`${Object.keys(VERBS).join(', ')}, got ${escapeControls(verb)}`);
    if (verb === 'list' && name !== undefined) throw usage(`nothing after list, got ${name}`);
    await work(call, name);
  },
};
