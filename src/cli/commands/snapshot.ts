import { renderAge, renderBytes } from '../../base/units.ts';
import type { SnapshotView } from '../../platform/snapshots.ts';
import { printJson, show, withVerbs, type CliVerb } from '../command.ts';
import { withProgress } from '../progress.ts';
import { renderTable } from '../render.ts';

/** Units: milliseconds in. */
const render = (snapshots: readonly SnapshotView[], nowMs: number): string => {
  const head = ['NAME', 'MADE', 'KIND', 'CONSISTENCY', 'DISKS', 'WHOLE'];
  const rows = snapshots.map(({ name, createdMs, kind, consistency, disks, isWhole }) => [
    ...[name, `${renderAge(nowMs - createdMs)} ago`, kind, consistency],
    ...[disks.map(renderBytes).join(',') || '-', isWhole ? 'yes' : 'no: somebody removed some of it'],
  ]);
  return renderTable(head, rows);
};

const create: CliVerb = {
  usage: 'create NAME [SNAPSHOT]',
  summary: 'keep disks, firmware variables, TPM and document as they are now; called by the time unless named',
  options: {},
  operands: [1, 2],
  complete: ['vm', 'text'],
  examples: ['brig snapshot create web01 before-upgrade', 'brig snapshot create web01'],
  run: async (call, vm: string, name?: string) => {
    const made = await withProgress(call.client, `snapshot ${vm}`, true, (on) => call.client.snapshot(vm, name, on));
    show(call, made, (each) => `${each.name}  ${each.consistency === 'stopped' ? 'stopped' : 'crash-consistent'}`);
  },
};

const list: CliVerb = {
  usage: 'list NAME',
  summary: 'the snapshots of a VM, oldest first',
  options: {},
  operands: [1, 1],
  complete: ['vm'],
  examples: ['brig snapshot list web01', 'brig snapshot list web01 --json'],
  run: async (call, vm: string) => {
    const all = await call.client.snapshots(vm);
    show(call, all, (snapshots) => render(snapshots, Date.now()));
  },
};

const rollback: CliVerb = {
  usage: 'rollback NAME SNAPSHOT [--force]',
  summary: 'make a stopped VM what it was',
  options: { force: { type: 'boolean', about: 'remove the snapshots that came after it' } },
  operands: [2, 2],
  complete: ['vm', 'snapshot'],
  examples: ['brig snapshot rollback web01 before-upgrade', 'brig snapshot rollback web01 before-upgrade --force'],
  run: async (call, vm: string, name: string) => {
    const force = call.values.force === true;
    const work = call.client.rollback.bind(call.client, vm, name, force);
    const outcome = await withProgress(call.client, `rollback ${vm}`, false, work);
    if (call.json) printJson(outcome);
  },
};

const remove: CliVerb = {
  usage: 'rm NAME SNAPSHOT',
  summary: 'remove a snapshot',
  options: {},
  operands: [2, 2],
  complete: ['vm', 'snapshot'],
  examples: ['brig snapshot rm web01 before-upgrade', 'brig snapshot rm web01 before-upgrade --json'],
  run: async (call, vm: string, name: string) => {
    const work = call.client.removeSnapshot.bind(call.client, vm, name);
    const outcome = await withProgress(call.client, `snapshot ${vm}`, false, work);
    if (call.json) printJson(outcome);
  },
};

export const snapshotCommand = withVerbs(
  'snapshot',
  "a VM's disks, firmware variables and document at one moment, and back to it",
  { create, list, rollback, rm: remove },
);
