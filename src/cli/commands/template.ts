import { escapeControls } from '../../base/units.ts';
import type { Template } from '../../spec/template.ts';
import { print, printJson, withVerbs, type Call, type CliVerb, type Options } from '../command.ts';
import { renderRows, renderTable } from '../render.ts';

const listAll = async (call: Call): Promise<void> => {
  const [{ listTemplates }, { parseTemplate }] = await Promise.all([
    import('../../io/templates.ts'),
    import('../../spec/template.ts'),
  ]);
  const all = [...(await listTemplates()).values()].map(({ text, path }) => ({ path, ...parseTemplate(text, path) }));
  if (call.json) return printJson(all);
  const rows = all.map(({ template, summary }) => [template, summary]);
  print(renderTable(['TEMPLATE', 'WHAT'], rows));
};

const render = async (template: Template): Promise<string> => {
  const [{ importLine }, { renderParameter }] = await Promise.all([
    import('../template.ts'),
    import('../../spec/template.ts'),
  ]);
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
    ...(rows.length === 0 ? [] : ['parameters:', ...renderRows(rows)]),
  ]
    .map(escapeControls)
    .join('\n');
};

const list: CliVerb = {
  usage: 'list',
  summary: "an administrator's templates and those that brig comes with",
  options: {},
  operands: [0, 0],
  complete: [],
  examples: ['brig template list', 'brig template list --json'],
  run: listAll,
};

const show: CliVerb = {
  usage: 'show TEMPLATE',
  summary: 'where its image comes from, how to verify it, the command that imports it, and its parameters',
  options: {},
  operands: [1, 1],
  complete: ['template'],
  examples: ['brig template show debian', 'brig template show ./mine.yaml'],
  run: async (call, name: string) => {
    const template = await (await import('../template.ts')).openTemplate(name);
    if (call.json) printJson(template);
    else print(await render(template));
  },
};

/** Parameters of a template. */
export const SET: Options = {
  set: {
    type: 'string',
    multiple: true,
    about: 'a parameter of the template; brig template show lists them',
    value: 'KEY=VALUE',
    is: 'text',
  },
};

const renderDocument: CliVerb = {
  usage: 'render TEMPLATE [--name NAME] [--set KEY=VALUE]...',
  summary: 'the VM document that brig create --template would ask for',
  options: { ...SET, name: { type: 'string', about: "the VM's name", value: 'NAME', is: 'text' } },
  operands: [1, 1],
  complete: ['template'],
  examples: ['brig template render test --name web01', 'brig template render debian --set memory=2G --set cpus=2'],
  run: async (call, name: string) => {
    const [{ openTemplate, settingsOf }, { renderTemplate }] = await Promise.all([
      import('../template.ts'),
      import('../../spec/template.ts'),
    ]);
    const vm = typeof call.values.name === 'string' ? call.values.name : 'vm';
    printJson(renderTemplate(await openTemplate(name), vm, settingsOf(call.values)));
  },
};

export const templateCommand = withVerbs('template', 'documents with parameters, to make VMs of', {
  list,
  show,
  render: renderDocument,
});
