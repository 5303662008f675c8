import { BrigError } from '../../base/errors.ts';
import { escapeControls, renderAge, renderBytes } from '../../base/units.ts';
import type { SnapshotView } from '../../platform/snapshots.ts';
import { print, printJson, type Call, type CliCommand } from '../command.ts';
import { withProgress } from '../progress.ts';
import { paint, table } from '../render.ts';

const usage = (expected: string): BrigError =>
  new BrigError('usage.invalid', `read arguments: expected ${expected}`, { hint: `usage: ${snapshotCommand.usage}` });

/** Units: milliseconds in. */
const render = (snapshots: readonly SnapshotView[], nowMs: number): string => {
  const head = ['NAME', 'MADE', 'KIND', 'CONSISTENCY', 'DISKS', 'WHOLE'];
  const rows = snapshots.map(({ name, createdMs, kind, consistency, disks, isWhole }) => [
    ...[name, `${renderAge(nowMs - createdMs)} ago`, kind, consistency],
    ...[disks.map(renderBytes).join(',') || '-', isWhole ? 'yes' : 'no: somebody removed some of it'],
  ]);
  const [heading = [], ...lines] = table([head, ...rows]);
  return [paint('bold', heading.join('  ')), ...lines.map((line) => line.join('  ').trimEnd())].join('\n');
};

type Verb = (call: Call, vm: string, name: string | undefined) => Promise<void>;

const named = (name: string | undefined, verb: string): string => {
  if (name === undefined) throw usage(`the name of a snapshot after ${verb} NAME, got nothing`);
  return name;
};

const VERBS: Readonly<Record<string, Verb>> = {
  create: async (call, vm, name) => {
    const made = await withProgress(call.client, `snapshot ${vm}`, true, (on) => call.client.snapshot(vm, name, on));
    if (call.json) printJson(made);
    else print(`${made.name}  ${made.consistency === 'stopped' ? 'stopped' : 'crash-consistent'}`);
  },
  list: async (call, vm) => {
    const all = await call.client.snapshots(vm);
    if (call.json) printJson(all);
    else print(render(all, Date.now()));
  },
  rollback: async (call, vm, name) => {
    const force = call.values.force === true;
    const work = call.client.rollback.bind(call.client, vm, named(name, 'rollback'), force);
    const outcome = await withProgress(call.client, `rollback ${vm}`, false, work);
    if (call.json) printJson(outcome);
  },
  rm: async (call, vm, name) => {
    const work = call.client.removeSnapshot.bind(call.client, vm, named(name, 'rm'));
    const outcome = await withProgress(call.client, `snapshot ${vm}`, false, work);
    if (call.json) printJson(outcome);
  },
};

export const snapshotCommand: CliCommand = {
  usage:
    'brig snapshot create NAME [SNAPSHOT] | list NAME | rollback NAME SNAPSHOT [--force] | rm NAME SNAPSHOT [--json]',
  summary: "a VM's disks, firmware variables and document at one moment, and back to it",
  options: { force: { type: 'boolean' } },
  operands: [2, 3],
  run: async (call) => {
    const [verb = '', vm = '', name] = call.operands;
    const work = Object.hasOwn(VERBS, verb) ? VERBS[verb] : undefined;
    if (!work) throw usage(`${Object.keys(VERBS).join(', ')}, got ${escapeControls(verb)}`);
    if (verb === 'list' && name !== undefined) throw usage(`nothing after list NAME, got ${escapeControls(name)}`);
    if (call.values.force !== undefined && verb !== 'rollback') throw usage('--force after rollback only');
    await work(call, vm, name);
  },
};
