import { withProgress } from '../progress.ts';
import { nameOf, print, printJson, TIMEOUT, timeoutOf, type Call, type CliCommand } from '../command.ts';
import { renderExplanation, renderList, renderNode, renderPlan, renderShow } from '../render.ts';
import { hasLabels, LABEL, labelsOf, onSelected } from '../select.ts';
import { BrigError } from '../../base/errors.ts';
import { parseBytes } from '../../base/units.ts';
import type { Outcome } from '../../engine/request.ts';

const NAME: readonly [number, number] = [1, 1];

const PLANNED = ['start', 'stop', 'destroy'];

const ONE_OR_LABELS: readonly [number, number] = [0, 1];

/** Quiet on success, as Unix is; says so when there was nothing to do. Of many it is told already. */
const report = (call: Call, outcome: Outcome | undefined, nothing: string): void => {
  if (!outcome) return;
  if (call.json) printJson(outcome);
  else if (!outcome.changed) process.stderr.write(`${nameOf(call)}: ${nothing}\n`);
  if (outcome.downgraded !== undefined)
    process.stderr.write(`brig: warning: ${nameOf(call)} is DOWNGRADED: ${outcome.downgraded}\n`);
};

const resize: CliCommand = {
  usage: 'brig resize NAME DISK SIZE [--json]',
  summary: 'make a disk of a stopped VM larger; DISK counts from 0',
  options: {},
  operands: [3, 3],
  complete: ['vm', 'text', 'text'],
  examples: ['brig resize web01 0 40G', 'brig resize db02 1 2T'],
  run: async (call) => {
    const [name = '', disk = '', size = ''] = call.operands;
    const bytes = parseBytes(size);
    if (!/^\d{1,2}$/.test(disk) || bytes === undefined)
      throw new BrigError(
        'usage.invalid',
        `read arguments: expected a disk's number and a size such as 40G, got ${disk} ${size}`,
        {
          hint: `usage: ${resize.usage}`,
        },
      );
    const outcome = await withProgress(call.client, `resize ${name}`, false, (on) =>
      call.client.resize(name, Number(disk), bytes, on),
    );
    if (call.json) printJson(outcome);
    else if (!outcome.changed) process.stderr.write(`${name}: disk ${disk} is that large already\n`);
  },
};

const list: CliCommand = {
  usage: 'brig list [--label K[=V]]... [--json]',
  summary: 'all VMs, or those with the labels, and what state they are in',
  options: { label: LABEL },
  operands: [0, 0],
  complete: [],
  examples: ['brig list', 'brig list --label tier=web', 'brig list --label tier=web --label site --json'],
  run: async (call) => {
    const vms = (await call.client.list()).filter(({ labels }) => hasLabels(labels, labelsOf(call)));
    if (call.json) printJson(vms);
    else print(renderList(vms, Date.now()));
  },
};

const show: CliCommand = {
  usage: 'brig show NAME [--json]',
  summary: 'one VM in full',
  options: {},
  operands: NAME,
  complete: ['vm'],
  examples: ['brig show web01', 'brig show web01 --json'],
  run: async (call) => {
    const vm = await call.client.show(nameOf(call));
    if (call.json) printJson(vm);
    else print(renderShow(vm, Date.now()));
  },
};

const start: CliCommand = {
  usage: 'brig start NAME | --label K[=V]... [--json]',
  summary: 'start a VM in its jail; returns when it is confined and running',
  options: { label: LABEL },
  operands: ONE_OR_LABELS,
  complete: ['vm'],
  examples: ['brig start web01', 'brig start --label tier=web'],
  run: async (call) => {
    const outcome = await onSelected(call, 'start', true, start.usage, (name, on) =>
      call.client.operate('start', name, on),
    );
    report(call, outcome, 'already running');
  },
};

const stop: CliCommand = {
  usage: 'brig stop NAME | --label K[=V]... | --all [--timeout 30s] [--json]',
  summary: 'ask the guest to shut down, then force it; returns when nothing is left',
  options: { timeout: TIMEOUT, all: { type: 'boolean', about: 'every VM that runs' }, label: LABEL },
  operands: ONE_OR_LABELS,
  complete: ['vm'],
  examples: ['brig stop web01', 'brig stop web01 --timeout 2m', 'brig stop --label tier=web', 'brig stop --all'],
  run: async (call) => {
    const stopOne = (name: string, on: object): Promise<Outcome> =>
      call.client.operate('stop', name, on, timeoutOf(call));
    const outcome = await onSelected(call, 'stop', false, stop.usage, stopOne, (vm) => vm.state !== 'defined');
    report(call, outcome, 'not running');
  },
};

const kill: CliCommand = {
  usage: 'brig kill NAME | --label K[=V]... [--json]',
  summary: 'end a VM at once, like pulling the plug',
  options: { label: LABEL },
  operands: ONE_OR_LABELS,
  complete: ['vm'],
  examples: ['brig kill web01', 'brig kill --label tier=test'],
  run: async (call) => {
    const outcome = await onSelected(call, 'kill', false, kill.usage, (name, on) =>
      call.client.operate('kill', name, on),
    );
    report(call, outcome, 'not running');
  },
};

const restart: CliCommand = {
  usage: 'brig restart NAME | --label K[=V]... [--timeout 30s] [--json]',
  summary: 'stop, then start',
  options: { timeout: TIMEOUT, label: LABEL },
  operands: ONE_OR_LABELS,
  complete: ['vm'],
  examples: ['brig restart web01', 'brig restart --label tier=web --timeout 1m'],
  run: async (call) => {
    const outcome = await onSelected(call, 'restart', true, restart.usage, (name, on) =>
      call.client.operate('restart', name, on, timeoutOf(call)),
    );
    report(call, outcome, 'nothing to do');
  },
};

const resolve: CliCommand = {
  usage: 'brig resolve NAME [--timeout 30s] [--json]',
  summary: 'go on with what got stuck, after you mended what brig explain says',
  options: { timeout: TIMEOUT },
  operands: NAME,
  complete: ['vm'],
  examples: ['brig explain web01', 'brig resolve web01'],
  run: async (call) => {
    const outcome = await withProgress(call.client, `resolve ${nameOf(call)}`, false, (on) =>
      call.client.operate('resolve', nameOf(call), on, timeoutOf(call)),
    );
    report(call, outcome, 'not stuck');
  },
};

const destroy: CliCommand = {
  usage: 'brig destroy NAME | --label K[=V]... [--force] [--json]',
  summary: 'remove a VM, its disks and all that was leased to it',
  options: { force: { type: 'boolean', about: 'a VM that runs, too: it is ended first' }, label: LABEL },
  operands: ONE_OR_LABELS,
  complete: ['vm'],
  examples: ['brig destroy web01', 'brig destroy web01 --force', 'brig destroy --label tier=test'],
  run: async (call) => {
    const force = call.values.force === true;
    const outcome = await onSelected(call, 'destroy', false, destroy.usage, (name, on) =>
      call.client.destroy(name, force, on),
    );
    report(call, outcome, 'nothing to do');
  },
};

const plan: CliCommand = {
  usage: 'brig plan start|stop|destroy NAME [--timeout 30s] [--json]',
  summary: 'every step and command that it would run, and why; runs none',
  options: { timeout: TIMEOUT },
  operands: [2, 2],
  complete: [PLANNED, 'vm'],
  examples: ['brig plan start web01', 'brig plan stop web01 --timeout 10s', 'brig plan destroy web01 --json'],
  run: async (call) => {
    const [verb = ''] = call.operands;
    if (!PLANNED.includes(verb))
      throw new BrigError('usage.invalid', `read arguments: expected start, stop or destroy, got ${verb}`, {
        hint: `usage: ${plan.usage}`,
      });
    const lines = await call.client.plan(verb, nameOf(call), timeoutOf(call));
    if (call.json) printJson(lines);
    else print(renderPlan(lines));
  },
};

const explainAll = async (call: Call): Promise<void> => {
  const findings = await call.client.findings();
  if (call.json) printJson(findings);
  else print(renderNode(findings, Date.now()));
};

const explain: CliCommand = {
  usage: 'brig explain [NAME] [--json]',
  summary: 'why a VM is as it is; without NAME, whatever on this node is not as brig made it',
  options: {},
  operands: [0, 1],
  complete: ['vm'],
  examples: ['brig explain web01', 'brig explain'],
  run: async (call) => {
    if (call.operands.length === 0) return await explainAll(call);
    const explanation = await call.client.explain(nameOf(call));
    if (call.json) printJson(explanation);
    else print(renderExplanation(explanation, Date.now()));
  },
};

const shutdown: CliCommand = {
  usage: 'brig shutdown [--timeout 60s] [--json]',
  summary: 'stop every VM that runs, in the opposite of their boot order, all within the timeout',
  options: { timeout: { ...TIMEOUT, about: 'how long all of them have together' } },
  operands: [0, 0],
  complete: [],
  examples: ['brig shutdown', 'brig shutdown --timeout 2m'],
  run: async (call) => {
    const end = await withProgress(call.client, 'shutdown', false, (on) => call.client.shutdown(on, timeoutOf(call)));
    const [first] = end.failed;
    if (call.json) printJson(end);
    if (call.json && first) process.exitCode = 71;
    if (call.json || !first) return;
    const all = end.failed.map(({ vm, reason }) => `${vm}: ${reason}`).join('\n  ');
    throw new BrigError(
      'saga.stuck',
      `shutdown: ${end.failed.length} of ${end.failed.length + end.stopped.length} VMs not stopped:\n  ${all}`,
      {
        hint: `brig explain ${first.vm}`,
      },
    );
  },
};

export const vmCommands = { list, show, start, stop, kill, restart, shutdown, resolve, resize, destroy, plan, explain };
