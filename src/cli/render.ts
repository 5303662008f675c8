import { styleText } from 'node:util';
import type { Explanation } from '../engine/explain.ts';
import type { PlanLine } from '../engine/changes.ts';
import type { QuotaView } from '../engine/quota.ts';
import type { VmView } from '../engine/view.ts';
import type { Finding } from '../platform/platform.ts';
import type { EventRow, FindingRow } from '../store/rows.ts';
import { BrigError, messageOf } from '../base/errors.ts';
import { escapeControls, renderAge, renderBytes } from '../base/units.ts';

export type Style = 'green' | 'red' | 'yellow' | 'dim' | 'bold';

/** Colour on a terminal only, and never where NO_COLOR says so. */
export const paint = (style: Style, text: string): string =>
  process.stdout.isTTY && !process.env.NO_COLOR ? styleText(style, text) : text;

const STATE_STYLE: Partial<Record<VmView['state'], Style>> = {
  running: 'green',
  failed: 'red',
  stuck: 'red',
  starting: 'yellow',
  stopping: 'yellow',
};

const paintState = (state: VmView['state'], text: string): string => {
  const style = STATE_STYLE[state];
  return style ? paint(style, text) : text;
};

/** One line of what others said, harmless to a terminal. */
const cellOf = (text: string): string => escapeControls(text).replaceAll('\n', '\\n');

/** Columns as wide as their widest cell; the last one is not padded. */
export const table = (cells: readonly (readonly string[])[]): string[][] => {
  const rows = cells.map((row) => row.map(cellOf));
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  return rows.map((row) => row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0))));
};

/** A line for each row. */
export const renderRows = (rows: readonly (readonly string[])[]): string[] =>
  table(rows).map((row) => row.join('  ').trimEnd());

/** A line for each row under its heading. */
export const renderTable = (head: readonly string[], rows: readonly (readonly string[])[]): string => {
  const [heading = '', ...lines] = renderRows([head, ...rows]);
  return [paint('bold', heading), ...lines].join('\n');
};

/** Enough of a digest to type. */
export const short = (digest: string): string => digest.slice(0, 12);

/** An error with what to do about it, as it may stand on a terminal: some have lines of their own. */
export const renderError = (error: unknown): string => {
  const hint = error instanceof BrigError && error.hint !== undefined ? ` (${error.hint})` : '';
  return escapeControls(`${messageOf(error)}${hint}`);
};

export const firstLine = (text: string): string => escapeControls(text.split('\n')[0] ?? '');

/** What nobody may overlook. */
const marksOf = (vm: VmView): string[] => [
  ...(vm.unconfined ? ['UNCONFINED'] : []),
  ...(vm.downgraded === undefined ? [] : ['DOWNGRADED']),
  ...(vm.queued === undefined ? [] : [`${vm.queued} waits for its turn`]),
];

export const renderList = (vms: readonly VmView[], nowMs: number): string => {
  const head = ['NAME', 'STATE', 'CPUS', 'MEMORY', 'PID', 'AGE', 'NETWORKS', 'REASON'];
  const rows = vms.map((vm) => [
    vm.name,
    vm.state,
    String(vm.cpus),
    renderBytes(vm.memoryBytes),
    vm.pid === undefined ? '-' : String(vm.pid),
    vm.sinceMs === undefined ? '-' : renderAge(nowMs - vm.sinceMs),
    [...new Set(vm.nics.map((nic) => nic.network))].join(',') || '-',
    [...marksOf(vm), ...(vm.reason === undefined ? [] : [firstLine(vm.reason)])].join('; '),
  ]);
  const [heading = [], ...lines] = table([head, ...rows]);
  const painted = lines.map((line, i) =>
    line.map((cell, column) => (column === 1 ? paintState(vms[i]?.state ?? 'defined', cell) : cell)),
  );
  return [paint('bold', heading.join('  ')), ...painted.map((line) => line.join('  ').trimEnd())].join('\n');
};

/** `3 of 10`, or what there is of no bound. */
const amount = (used: number, most: number | undefined, render: (amount: number) => string): string =>
  most === undefined ? render(used) : `${render(used)} of ${render(most)}`;

/** VMs, CPUs, memory, disks, addresses and snapshots. */
export const amountsOf = ({ used, most }: QuotaView): string[] => [
  amount(used.vms, most.vms, String),
  amount(used.cpus, most.cpus, String),
  amount(used.memory, most.memory, renderBytes),
  amount(used.disk, most.disk, renderBytes),
  amount(used.addresses, most.addresses, String),
  amount(used.snapshots, most.snapshots, String),
];

const renderQuota = (quota: QuotaView): [string, string][] => {
  const [vms, cpus, memory, disk, addresses, snapshots] = amountsOf(quota);
  const rest = `disks ${disk}, addresses ${addresses}, snapshots ${snapshots}`;
  return [['quota', `VMs ${vms}, CPUs ${cpus}, memory ${memory}, ${rest}`]];
};

export const renderShow = (vm: VmView, nowMs: number): string => {
  const lines: [string, string][] = [
    ['name', vm.name],
    ['state', vm.state],
    ...(vm.reason === undefined ? [] : [['reason', firstLine(vm.reason)] as [string, string]]),
    ...(vm.downgraded === undefined ? [] : [['downgraded', `yes: ${vm.downgraded}`] as [string, string]]),
    ...(vm.unconfined ? [['unconfined', 'yes: nothing contains its devices'] as [string, string]] : []),
    ['cpus', String(vm.cpus)],
    ['memory', renderBytes(vm.memoryBytes)],
    ['jail uid', String(vm.uid)],
    ...(vm.pid === undefined
      ? []
      : [['pid', `${vm.pid}${vm.supervised === false ? ' (without its supervisor)' : ''}`] as [string, string]]),
    ...(vm.sinceMs === undefined ? [] : [['up', renderAge(nowMs - vm.sinceMs)] as [string, string]]),
    ...(vm.rssBytes === undefined ? [] : [['resident', `${Math.round(vm.rssBytes / 2 ** 20)}M`] as [string, string]]),
    ...vm.nics.map((nic, i): [string, string] => [
      `nic ${i}`,
      [nic.network, nic.mode, nic.mac, `unit ${nic.unit}`, ...nic.addresses, ...(nic.delegated ?? [])].join(' '),
    ]),
    ['autostart', vm.autostart ? 'yes' : 'no'],
    ...(vm.owner === undefined ? [] : [['owner', vm.owner] as [string, string]]),
    ...(vm.quota ? renderQuota(vm.quota) : []),
    ...Object.entries(vm.labels).map(([key, value]): [string, string] => [`label ${key}`, escapeControls(value)]),
    ...(vm.lastEnd === undefined
      ? []
      : [
          ['last end', `${vm.lastEnd.exit} (${vm.lastEnd.cause}), ${renderAge(nowMs - vm.lastEnd.atMs)} ago`] as [
            string,
            string,
          ],
        ]),
  ];
  const width = Math.max(...lines.map(([key]) => key.length));
  const shown = (key: string, value: string): string =>
    key === 'state' ? paintState(vm.state, vm.state) : cellOf(value);
  return lines.map(([key, value]) => `${cellOf(key).padEnd(width)}  ${shown(key, value)}`).join('\n');
};

export const renderPlan = (lines: readonly PlanLine[]): string =>
  lines.length === 0
    ? 'nothing to do'
    : lines
        .map((line, i) =>
          [
            `${i + 1}. ${paint('bold', `${line.op === 'undo' ? 'undo ' : ''}${line.step}`)}`,
            `   because ${escapeControls(line.because)}`,
            ...line.commands.map((each) => `     ${escapeControls(each)}`),
          ].join('\n'),
        )
        .join('\n');

export const renderEvent = (event: EventRow): string => {
  const data = Object.entries(event.data)
    .map(([key, value]) => `${key}=${typeof value === 'string' ? firstLine(value) : JSON.stringify(value)}`)
    .join(' ');
  const at = new Date(event.atMs).toISOString();
  const line = `${at}  ${String(event.seq).padStart(5)}  ${(event.vm ?? '-').padEnd(12)}  ${event.kind}  ${event.cause}`;
  return cellOf(data ? `${line}  ${data}` : line);
};

const LEVEL: Record<Finding['level'], Style> = { ok: 'green', warning: 'yellow', problem: 'red' };

export const renderFindings = (findings: readonly Finding[]): string =>
  findings
    .map(
      (each) =>
        `${paint(LEVEL[each.level], each.level.padEnd(7))}  ${cellOf(`${each.what}: ${each.got}`)}${each.mend === undefined ? '' : `\n         mend: ${escapeControls(each.mend)}`}`,
    )
    .join('\n');

/** What differs, what becomes of it, and what a person could type. */
const renderDifference = (found: Explanation['findings'][number], nowMs: number): string[] =>
  [
    `  ${found.step}: ${found.because}`,
    ...(found.sinceMs === undefined ? [] : [`    found ${renderAge(nowMs - found.sinceMs)} ago`]),
    `    ${found.reason === undefined ? 'brig mends it when it reconciles, unless the policy is report' : `not mended: ${escapeControls(found.reason)}`}`,
    ...found.commands.map((line) => `      ${line}`),
  ].map(escapeControls);

/** Findings of all VMs. */
export const renderNode = (findings: readonly FindingRow[], nowMs: number): string =>
  findings.length === 0
    ? 'everything is as brig made it'
    : findings
        .flatMap((each, i) => [
          ...(findings[i - 1]?.vm === each.vm ? [] : [`${each.vm}:`]),
          ...renderDifference(each, nowMs),
        ])
        .join('\n');

export const renderExplanation = (explanation: Explanation, nowMs: number): string => {
  const { vm, intent, findings, events } = explanation;
  const left = vm.left ?? [];
  return [
    `${vm.name} is ${paintState(vm.state, vm.state)}${vm.sinceMs === undefined ? '' : ` since ${renderAge(nowMs - vm.sinceMs)}`}; ${intent === 'running' ? 'it is meant to run' : 'nobody wants it to run'}`,
    ...(vm.reason === undefined ? [] : [`because ${escapeControls(vm.reason)}`]),
    ...(left.length === 0
      ? []
      : [
          'what is left, and what to type; then brig resolve:',
          ...left
            .flatMap((each) => [`  ${each.step}`, ...each.commands.map((line) => `    ${line}`)])
            .map(escapeControls),
        ]),
    ...(vm.lastEnd === undefined
      ? []
      : [
          escapeControls(
            `its last run ended by ${vm.lastEnd.exit} (${vm.lastEnd.cause}) ${renderAge(nowMs - vm.lastEnd.atMs)} ago`,
          ),
        ]),
    ...(findings.length === 0
      ? []
      : ['changed by hand since brig made it:', ...findings.flatMap((each) => renderDifference(each, nowMs))]),
    'what happened last:',
    ...events.map((event) => `  ${renderEvent(event)}`),
  ].join('\n');
};
