import type { Await, Effect, Host, Probe, Result, Stage, Tolerance, Until } from '../base/host.ts';
import type { Command } from '../base/host.ts';
import { BrigError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { checkUse, fillPlaces, renderRef, type Reveal, type Unsealed } from '../base/secret.ts';
import { escapeControls } from '../base/units.ts';

/**
 * What a run of effects is told, and tells: a wait ends early when the signal is set, and what an end waits for at its
 * stages when `hurry` is; each harder stage is named; secrets are told here alone.
 */
export interface Watch {
  readonly signal?: AbortSignal | undefined;
  readonly hurry?: AbortSignal | undefined;
  readonly onStage?: ((name: string) => void) | undefined;
  readonly reveal?: Reveal | undefined;
}

/** Runs one effect on a host. Errors: saga.cancelled, host.* with the command, its status and its stderr. */
export const perform = async (host: Host, effect: Effect, watch: Watch = {}): Promise<void> => {
  switch (effect.do) {
    case 'run':
      return await performRun(host, effect);
    case 'await':
      return await performAwait(host, effect, watch.signal);
    case 'absent':
      return await performAbsent(host, effect);
    case 'escalate':
      return await performEscalate(host, effect, watch);
    case 'write':
      return await performWrite(host, effect, watch.reveal);
    case 'copy':
      if (effect.keep && (await host.stat(effect.to))) return;
      if (effect.ifThere && !(await host.stat(effect.from))) return;
      return await host.copyFile(effect.from, effect.to, effect.access, effect.growTo);
    case 'allocate':
      if (await host.stat(effect.path)) return;
      return await host.allocate(effect.path, effect.bytes, effect.access);
    case 'grow':
      return await performGrow(host, effect);
    case 'mkdir':
      return await host.mkdir(effect.path, effect.access);
    case 'remove':
      return await host.remove(effect.path);
    case 'rmdir':
      return await host.rmdir(effect.path);
    case 'set':
      return await host.set(effect.path, effect.text);
    case 'say':
      return await host.say(effect.path, effect.text);
    case 'spawn':
      return await host.spawn(effect.command);
  }
};

/** With the values in their places; no copy of them is left for longer than the file takes. */
const performWrite = async (host: Host, effect: Effect & { do: 'write' }, reveal?: Reveal): Promise<void> => {
  const { path, text, access, encoding = 'utf8', secrets = [] } = effect;
  if (secrets.length === 0) return await host.writeFile(path, Buffer.from(text, encoding), access);
  const values = new Map<string, Unsealed>();
  try {
    for (const ref of secrets) {
      if (!reveal) throw new BrigError('secret.locked', `write ${path}: nobody here can open ${renderRef(ref)}`);
      const found = await reveal(ref);
      values.set(ref.name, found);
      checkUse(ref, found.value);
    }
    const content = fillPlaces(text, values);
    await host.writeFile(path, content, access).finally(() => content.fill(0));
  } finally {
    for (const { value } of values.values()) value.fill(0);
  }
};

const performGrow = async (host: Host, { path, bytes }: Effect & { do: 'grow' }): Promise<void> => {
  const has = (await host.stat(path))?.bytes ?? 0;
  if (has > bytes) throw new BrigError('host.failed', `grow ${path}: expected at most ${bytes} bytes, got ${has}`);
  const disk = await host.openDisk(path, 'write');
  try {
    await disk.resize(bytes);
    await disk.sync();
  } finally {
    await disk.close();
  }
};

const tolerates = (result: Result, tolerance: Tolerance): boolean =>
  result.status === tolerance.status && result.stderr.includes(tolerance.stderr ?? '');

const performRun = async (host: Host, effect: Effect & { do: 'run' }): Promise<void> => {
  const deadline = host.now() + (effect.retry?.forMs ?? 0);
  let pauseMs: number = LIMITS.probeFirstMs;
  for (;;) {
    const result = await host.run(effect.command);
    if (result.timedOut) throw timeout(effect.command);
    if (result.status === 0) return checkExpected(effect.command, effect.expect, result.stdout);
    // A program that was given several things may say both of different ones: what is retried comes first.
    const again = effect.retry !== undefined && tolerates(result, effect.retry.on);
    if (!again && effect.tolerate?.some((t) => tolerates(result, t))) return;
    if (!again || host.now() >= deadline) throw failure(effect.command, result);
    await host.sleep(pauseMs);
    pauseMs = Math.min(pauseMs * 2, LIMITS.probeMaxMs);
  }
};

const checkExpected = (command: Command, expected: string | undefined, got: string): void => {
  if (expected === undefined || expected === got) return;
  const wanted = expected.split('\n');
  const came = got.split('\n');
  const line = wanted.findIndex((text, i) => text !== came[i]);
  const at = line === -1 ? wanted.length : line;
  throw new BrigError(
    'host.mismatch',
    `run ${renderCommand(command)}: line ${at + 1}: expected ${JSON.stringify(wanted[at] ?? '')}, got ${JSON.stringify(came[at] ?? '')}`,
    { details: { expected, got } },
  );
};

/** Whether a probe's answer is what is waited for. */
export const satisfied = (result: Result, until: Until): boolean => {
  if (result.timedOut) return false;
  if ('status' in until) return result.status === until.status;
  if ('matches' in until) return new RegExp(until.matches, 'm').test(result.stdout);
  return result.status === 0 && !new RegExp(until.lacks, 'm').test(result.stdout);
};

const ask = async (host: Host, probe: Probe): Promise<Result> => {
  if ('program' in probe) return await host.run(probe);
  const text = await host.readFile(probe.read);
  return { status: text === undefined ? 1 : 0, stdout: text ?? '', stderr: '', timedOut: false };
};

/** True when it came, false when `timeoutMs` passed or `unless` appeared. */
const look = async (
  host: Host,
  wait: Pick<Await, 'probe' | 'until' | 'timeoutMs' | 'unless'>,
  signal?: AbortSignal,
): Promise<boolean> => {
  const deadline = host.now() + wait.timeoutMs;
  const isCheap = !('program' in wait.probe);
  let pauseMs: number = LIMITS.probeFirstMs;
  for (;;) {
    const result = await ask(host, wait.probe);
    if (result.timedOut && 'program' in wait.probe) throw timeout(wait.probe);
    if (satisfied(result, wait.until)) return true;
    if (wait.unless !== undefined && (await host.stat(wait.unless))) return false;
    if (host.now() >= deadline) return false;
    if (signal?.aborted) throw new BrigError('saga.cancelled', 'cancelled');
    await host.sleep(pauseMs);
    if (!isCheap) pauseMs = Math.min(pauseMs * LIMITS.probeGrowth, LIMITS.probeMaxMs);
  }
};

const performAwait = async (host: Host, effect: Await, signal?: AbortSignal): Promise<void> => {
  if (await look(host, effect, signal)) return;
  const ended = effect.unless !== undefined && (await host.stat(effect.unless)) !== undefined;
  const text = effect.quote === undefined ? '' : ((await host.readFile(effect.quote)) ?? '');
  const said = text.trim() ? `: ${quote(text)}` : '';
  const why = ended
    ? `the process ended${await endOf(host, effect.unless)}`
    : `not within ${effect.timeoutMs / 1000} s`;
  throw new BrigError(ended ? 'host.failed' : 'host.timeout', `wait for ${effect.what}: ${why}${said}`, {
    retry: 'operator',
  });
};

const performAbsent = async (host: Host, effect: Effect & { do: 'absent' }): Promise<void> => {
  const deadline = host.now() + effect.timeoutMs;
  while (await host.stat(effect.path)) {
    if (host.now() >= deadline)
      throw new BrigError(
        'host.timeout',
        `wait for ${effect.path} to be gone: still there after ${effect.timeoutMs / 1000} s`,
        { retry: 'operator' },
      );
    await host.sleep(LIMITS.probeFirstMs);
  }
};

const endOf = async (host: Host, path: string | undefined): Promise<string> => {
  const status = /^\S+ (\d+) /.exec((path && (await host.readFile(path))) ?? '')?.[1];
  return status === undefined ? '' : ` with status ${status}`;
};

const performEscalate = async (
  host: Host,
  effect: Effect & { do: 'escalate' },
  { onStage, hurry }: Watch,
): Promise<void> => {
  const last = effect.stages.at(-1);
  if (await look(host, { ...effect.gone, timeoutMs: 0 })) return;
  for (const stage of effect.stages) {
    onStage?.(stage.name);
    // After the last there is nothing to hurry to.
    if (await askAndWait(host, stage, effect.gone, stage === last ? undefined : hurry)) return;
  }
  const name = last?.name ?? 'nothing';
  throw new BrigError('host.timeout', `end the process: still there after ${name}`, { retry: 'operator' });
};

const askAndWait = async (
  host: Host,
  stage: Stage,
  gone: Pick<Await, 'probe' | 'until'>,
  hurry: AbortSignal | undefined,
): Promise<boolean> => {
  // A stage that cannot be delivered (the process just went) is answered by the probe, not by its status.
  await perform(host, stage.effect).catch(() => undefined);
  try {
    return await look(host, { ...gone, timeoutMs: stage.waitMs }, hurry);
  } catch (error) {
    if (hurry?.aborted && error instanceof BrigError && error.code === 'saga.cancelled') return false;
    throw error;
  }
};

const failure = (command: Command, result: Result): BrigError => {
  const said = quote(result.stderr) || quote(result.stdout) || 'no message';
  return new BrigError('host.failed', `run ${renderCommand(command)}: status ${result.status}: ${said}`, {
    details: { program: command.program, status: result.status, stderr: quote(result.stderr) },
  });
};

const timeout = (command: Command): BrigError =>
  new BrigError('host.timeout', `run ${renderCommand(command)}: no answer within ${command.timeoutMs / 1000} s`, {
    retry: 'operator',
    hint: 'the host may be wedged: look for a process holding a tap that is being destroyed, then run brig doctor',
  });

const quote = (text: string): string =>
  escapeControls(text.trim().replaceAll('\r', '').slice(-LIMITS.quotedBytes)).replaceAll('\n', '; ');

const renderWord = (word: string): string =>
  /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;

/** A command as a person would type it. */
export const renderCommand = (command: Command): string => [command.program, ...command.args].map(renderWord).join(' ');
