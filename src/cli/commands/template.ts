import { BrigError } from '../../base/errors.ts';
import { escapeControls } from '../../base/units.ts';
import type { Template, TemplateView } from '../../spec/template.ts';
import { printJson, show, withVerbs, type Call, type CliVerb, type Options } from '../command.ts';
import { renderRows, renderTable } from '../render.ts';

/** What a list says of each. */
interface Told {
  readonly template: string;
  readonly summary: string;
}

const renderList = (all: readonly Told[]): string =>
  renderTable(
    ['TEMPLATE', 'WHAT'],
    all.map(({ template, summary }) => [template, summary]),
  );

/** Of another node: what it tells of them. */
const viewsOf = async ({ client }: Call): Promise<(Told & Pick<TemplateView, 'parameters'>)[]> =>
  (await client.templates()).map(({ name, ...rest }) => ({ template: name, ...rest }));

const listAll = async (call: Call): Promise<void> => {
  if (call.client.isElsewhere) return show(call, await viewsOf(call), renderList);
  const [{ listTemplates }, { parseTemplate }] = await Promise.all([
    import('../../io/templates.ts'),
    import('../../spec/template.ts'),
  ]);
  const all = [...(await listTemplates()).values()].map(({ text, path }) => ({ path, ...parseTemplate(text, path) }));
  show(call, all, renderList);
};

const renderParameters = (rows: readonly (readonly string[])[]): string[] =>
  rows.length === 0 ? [] : ['parameters:', ...renderRows(rows.map(([name = '', ...rest]) => [`  ${name}`, ...rest]))];

const render = async (template: Template): Promise<string> => {
  const [{ importLine }, { renderParameter }] = await Promise.all([
    import('../template.ts'),
    import('../../spec/template.ts'),
  ]);
  const line = importLine(template);
  const rows = Object.entries(template.parameters).map(([name, each]) => [
    name,
    each.default === undefined ? 'required' : String(each.default),
    each.summary ?? renderParameter(each),
  ]);
  return [
    `${template.template}: ${template.summary}`,
    ...(template.source?.url === undefined ? [] : [`source: ${template.source.url}`]),
    ...(template.source === undefined ? [] : [`verify: ${template.source.verify}`]),
    ...(line === undefined ? [] : [`import: ${line}`]),
    ...renderParameters(rows),
  ]
    .map(escapeControls)
    .join('\n');
};

const showElsewhere = async (call: Call, name: string): Promise<void> => {
  const all = await viewsOf(call);
  const view = all.find(({ template }) => template === name);
  if (!view)
    throw new BrigError('spec.invalid', `find template ${name}: no such template of this node`, {
      hint: `there are ${all.map(({ template }) => template).join(', ')}`,
    });
  show(call, view, ({ template, summary, parameters }) =>
    [escapeControls(`${template}: ${summary}`), ...renderParameters(Object.entries(parameters))].join('\n'),
  );
};

const list: CliVerb = {
  usage: 'list',
  summary: "an administrator's templates and those that brig comes with; of another node, what one may create of there",
  options: {},
  operands: [0, 0],
  complete: [],
  examples: ['brig template list', 'brig template list --json'],
  run: listAll,
};

const showOne: CliVerb = {
  usage: 'show TEMPLATE',
  summary: 'where its image comes from, how to verify it, the command that imports it, and its parameters',
  options: {},
  operands: [1, 1],
  complete: ['template'],
  examples: ['brig template show debian', 'brig template show ./mine.yaml'],
  run: async (call, name: string) => {
    if (call.client.isElsewhere && !name.includes('/')) return await showElsewhere(call, name);
    const template = await (await import('../template.ts')).openTemplate(name);
    const text = await render(template);
    show(call, template, () => text);
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
  summary: 'the VM document that a template of this machine makes',
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

export const templateCommand = withVerbs(
  'template',
  'documents with parameters, to make VMs of',
  { list, show: showOne, render: renderDocument },
  { isLocal: ([verb, name]) => verb === 'render' || name?.includes('/') === true },
);
