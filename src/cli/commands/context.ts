import { BrigError } from '../../base/errors.ts';
import { escapeControls } from '../../base/units.ts';
import type { Context, Contexts } from '../../spec/contexts.ts';
import { print, printJson, type Call, type CliCommand } from '../command.ts';
import { LOCAL } from '../connection.ts';
import { contextsPath, readContexts, writeContexts } from '../context-files.ts';
import { table } from '../render.ts';

const usage = (expected: string): BrigError =>
  new BrigError('usage.invalid', `read arguments: expected ${expected}`, { hint: `usage: ${contextCommand.usage}` });

const contextOf = (all: Contexts, name: string): Context => {
  const found = Object.hasOwn(all.contexts, name) ? all.contexts[name] : undefined;
  if (found) return found;
  throw new BrigError('usage.invalid', `find context ${escapeControls(name)}: no such context`, {
    hint: 'brig context list',
  });
};

interface ContextView extends Partial<Context> {
  readonly name: string;
  readonly current: boolean;
}

const viewsOf = (all: Contexts): ContextView[] => [
  { name: LOCAL, current: all.current === undefined },
  ...Object.entries(all.contexts).map(([name, context]) => ({ name, current: all.current === name, ...context })),
];

const renderList = (views: readonly ContextView[]): string =>
  table([
    ['CURRENT', 'NAME', 'URL'],
    ...views.map(({ name, current, url }) => [current ? '*' : '', name, url ?? 'this node']),
  ])
    .map((row) => row.join('  ').trimEnd())
    .join('\n');

const toText = (value: string | boolean | undefined): string =>
  typeof value === 'boolean' ? (value ? 'yes' : 'no') : escapeControls(value ?? '-');

const renderShow = (view: ContextView): string =>
  table(Object.entries<string | boolean | undefined>({ ...view }).map(([key, value]) => [key, toText(value)]))
    .map((row) => row.join('  '))
    .join('\n');

const use = async (all: Contexts, name: string): Promise<void> => {
  const { contexts } = all;
  if (name !== LOCAL) contextOf(all, name);
  await writeContexts(contextsPath(), name === LOCAL ? { contexts } : { current: name, contexts });
};

/** Its key stays: another context may use it. */
const remove = async (all: Contexts, name: string): Promise<void> => {
  contextOf(all, name);
  const contexts = Object.fromEntries(Object.entries(all.contexts).filter(([other]) => other !== name));
  const current = all.current === name ? {} : { current: all.current };
  await writeContexts(contextsPath(), { ...current, contexts });
};

const showOne = (call: Call, all: Contexts, name: string | undefined): void => {
  const wanted = name ?? all.current ?? LOCAL;
  const view = viewsOf(all).find((each) => each.name === wanted);
  if (!view) contextOf(all, wanted);
  else if (call.json) printJson(view);
  else print(renderShow(view));
};

export const contextCommand: CliCommand = {
  usage: 'brig context list | use NAME | rm NAME | show [NAME] [--json]',
  summary: 'nodes elsewhere, and which one is meant',
  operands: [1, 2],
  isLocal: true,
  run: async (call) => {
    const [verb = '', name] = call.operands;
    const all = (await readContexts(contextsPath())) ?? { contexts: {} };
    if (verb === 'show') return showOne(call, all, name);
    if (verb === 'list' && name === undefined) {
      if (call.json) return printJson(viewsOf(all));
      return print(renderList(viewsOf(all)));
    }
    if ((verb === 'use' || verb === 'rm') && name !== undefined)
      return await (verb === 'use' ? use(all, name) : remove(all, name));
    throw usage(`list, use NAME, rm NAME or show [NAME], got ${escapeControls(call.operands.join(' '))}`);
  },
};
