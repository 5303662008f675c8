import { BrigError } from '../../base/errors.ts';
import { escapeControls } from '../../base/units.ts';
import type { Context, Contexts } from '../../spec/contexts.ts';
import { show, withVerbs, type Call, type CliVerb } from '../command.ts';
import { LOCAL } from '../connection.ts';
import { changeContexts, contextsPath, readContexts } from '../context-files.ts';
import { renderRows, renderTable } from '../render.ts';

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
  renderTable(
    ['CURRENT', 'NAME', 'URL'],
    views.map(({ name, current, url }) => [current ? '*' : '', name, url ?? 'this node']),
  );

const toText = (value: string | boolean | undefined): string =>
  typeof value === 'boolean' ? (value ? 'yes' : 'no') : (value ?? '-');

const renderShow = (view: ContextView): string =>
  renderRows(
    Object.entries<string | boolean | undefined>({ ...view }).map(([key, value]) => [key, toText(value)]),
  ).join('\n');

const used = (all: Contexts, name: string): Contexts => {
  const { contexts } = all;
  if (name !== LOCAL) contextOf(all, name);
  return name === LOCAL ? { contexts } : { current: name, contexts };
};

/** Its key stays: another context may use it. */
const without = (all: Contexts, name: string): Contexts => {
  contextOf(all, name);
  const contexts = Object.fromEntries(Object.entries(all.contexts).filter(([other]) => other !== name));
  return { ...(all.current === name ? {} : { current: all.current }), contexts };
};

const showOne = async (call: Call, name: string | undefined): Promise<void> => {
  const all = await read();
  const wanted = name ?? all.current ?? LOCAL;
  const view = viewsOf(all).find((each) => each.name === wanted);
  if (!view) contextOf(all, wanted);
  else show(call, view, renderShow);
};

const read = async (): Promise<Contexts> => (await readContexts(contextsPath())) ?? { contexts: {} };

const verb = (
  name: string,
  operands: readonly [number, number],
  summary: string,
  run: (call: Call, name: string) => Promise<void>,
): CliVerb => ({
  usage: operands[1] === 0 ? name : `${name} ${operands[0] === 0 ? '[NAME]' : 'NAME'}`,
  ...{ summary, options: {}, operands, complete: operands[1] === 0 ? [] : ['context'] },
  examples:
    operands[1] === 0
      ? [`brig context ${name}`, `brig context ${name} --json`]
      : [`brig context ${name} lab`, `brig context ${name} node1`],
  run,
});

export const contextCommand = withVerbs(
  'context',
  'nodes elsewhere, and which one is meant',
  {
    list: verb('list', [0, 0], 'the nodes that brig login made contexts for', async (call) =>
      show(call, viewsOf(await read()), renderList),
    ),
    use: verb('use', [1, 1], 'mean this node from now on; local is this one', (_, name) =>
      changeContexts((all) => used(all, name)),
    ),
    rm: verb('rm', [1, 1], 'forget a node; its key stays', (_, name) => changeContexts((all) => without(all, name))),
    show: verb('show', [0, 1], 'one context; by default the one that is meant', showOne),
  },
  { isLocal: () => true },
);
