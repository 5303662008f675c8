import { execa } from 'execa';
import { spawn as spawnChild } from 'node:child_process';
import { constants } from 'node:os';
import type { Command, Result } from '../base/host.ts';
import { BrigError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';

/** The whole environment of every program that brig runs: base programs in a language that parsers know. */
export const ENV = { PATH: '/sbin:/bin:/usr/sbin:/usr/bin', LC_ALL: 'C', TZ: 'UTC' };

/** Runs a program without a shell. Errors: host.missing when it is not there, host.denied when it may not be run. */
export const run = async (command: Command): Promise<Result> => {
  const outcome = await execa(command.program, command.args, {
    env: ENV,
    extendEnv: false,
    cwd: '/',
    reject: false,
    stripFinalNewline: false,
    maxBuffer: LIMITS.commandOutputBytes,
    timeout: command.timeoutMs,
    killSignal: 'SIGKILL',
    ...(command.stdin === undefined ? { stdin: 'ignore' as const } : { input: command.stdin }),
  });
  if (outcome.code === 'ENOENT' || outcome.code === 'EACCES') throw unusable(command.program, outcome.code);
  const status = outcome.exitCode ?? (outcome.signal ? 128 + signalNumber(outcome.signal) : 127);
  return { status, stdout: outcome.stdout, stderr: outcome.stderr, timedOut: outcome.timedOut };
};

const unusable = (program: string, code: string): BrigError =>
  code === 'ENOENT'
    ? new BrigError('host.missing', `run ${program}: no such program`, { hint: 'brig doctor names what is missing' })
    : new BrigError('host.denied', `run ${program}: permission denied`);

const signalNumber = (signal: NodeJS.Signals): number => constants.signals[signal];

/** Starts a program in a session of its own with no open descriptors of ours. */
export const spawn = (command: Command): Promise<void> =>
  new Promise((resolve, reject) => {
    const child = spawnChild(command.program, command.args, { detached: true, stdio: 'ignore', cwd: '/', env: ENV });
    child.once('error', (cause) =>
      reject(new BrigError('host.failed', `start ${command.program}: ${cause.message}`, { cause })),
    );
    child.once('spawn', () => {
      child.unref();
      resolve();
    });
  });
