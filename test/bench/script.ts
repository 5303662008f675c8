import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { Command, Effect, Probe } from '../../src/base/host.ts';
import { renderCommand } from '../../src/saga/perform.ts';

const owner = (access: { mode: number; uid: number; gid: number }): string =>
  `-m ${access.mode.toString(8)} -o ${access.uid} -g ${access.gid}`;

const withInput = (command: Command): string =>
  command.stdin === undefined ? renderCommand(command) : `${renderCommand(command)} <<'EOT'\n${command.stdin}EOT`;

const inputs = mkdtempSync('/var/tmp/brig-inputs-');
process.on('exit', () => rmSync(inputs, { recursive: true }));
let count = 0;

/** A script finds the text that it installs ready: it may hold what sh cannot say. */
const prepared = (text: string): string => {
  const path = `${inputs}/${count++}`;
  writeFileSync(path, text);
  return path;
};

/** One effect as lines of plain sh: what somebody would write who wants the same without brig. */
const toSh = (effect: Effect): string[] => {
  switch (effect.do) {
    case 'run':
      return [
        `${withInput(effect.command).replace('\n', ' >/dev/null 2>&1\n')}${effect.command.stdin === undefined ? ' >/dev/null 2>&1' : ''}`,
      ];
    case 'write':
      return [`install ${owner(effect.access)} ${prepared(effect.text)} ${effect.path}`];
    case 'copy':
      return [`install ${owner(effect.access)} ${effect.from} ${effect.to}`];
    case 'allocate':
      return [`truncate -s ${effect.bytes} ${effect.path}`];
    case 'grow':
      return [`truncate -s ${effect.bytes} ${effect.path}`];
    case 'mkdir':
      return [`install -d ${owner(effect.access)} ${effect.path}`];
    case 'remove':
      return [`rm -rf ${effect.path}`];
    case 'rmdir':
      return [`rmdir ${effect.path}`];
    case 'set':
    case 'say':
      return [`echo '${effect.text.trimEnd()}' > ${effect.path}`];
    case 'spawn':
      return [`setsid ${renderCommand(effect.command)} </dev/null >/dev/null 2>&1 &`];
    case 'absent':
      return [`while [ -e ${effect.path} ]; do sleep 0.01; done`];
    case 'await':
      return [untilSh(effect.probe, effect.until)];
    case 'escalate':
      return [...toSh(effect.stages[0]?.effect ?? effect), untilSh(effect.gone.probe, effect.gone.until)];
  }
};

const untilSh = (probe: Probe, until: { status: number } | { matches: string } | { lacks: string }): string => {
  const command = 'read' in probe ? `cat ${probe.read}` : renderCommand(probe);
  if ('status' in until) return `while ${command} >/dev/null 2>&1; [ $? != ${until.status} ]; do sleep 0.01; done`;
  const [pattern, not] = 'matches' in until ? [until.matches, ''] : [until.lacks, '! '];
  return `until ${command} 2>/dev/null | ${not}grep -Pq '${pattern}'; do sleep 0.01; done`;
};

export const toScript = (effects: readonly Effect[]): string => `${effects.flatMap(toSh).join('\n')}\n`;

/** Wall time of a script. Units: milliseconds. */
export const timeScript = (script: string): number => {
  const startMs = performance.now();
  const { status, stderr } = spawnSync('/bin/sh', ['-s'], { input: script, encoding: 'utf8', timeout: 30_000 });
  if (status !== 0) throw new Error(`script: status ${status}: ${stderr}`);
  return performance.now() - startMs;
};

export const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
