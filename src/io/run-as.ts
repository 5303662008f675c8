import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { Command, Result } from '../base/host.ts';
import { LIMITS } from '../base/limits.ts';
import { ENV } from './exec.ts';

export interface As {
  readonly uid: number;
  readonly gid: number;
}

/** The first bytes of a stream; the rest is read and forgotten. */
const keep = (stream: NodeJS.ReadableStream): (() => string) => {
  const chunks: Buffer[] = [];
  let bytes = 0;
  stream.on('data', (chunk: Buffer) => {
    if (bytes < LIMITS.hookOutputBytes) chunks.push(chunk.subarray(0, LIMITS.hookOutputBytes - bytes));
    bytes += chunk.length;
  });
  return () => Buffer.concat(chunks).toString('utf8');
};

/**
 * Runs somebody else's program as a user, in a process group of its own that ends with its time: what it left behind
 * holds nobody up. Never rejects; what could not be started has status 127 and says why.
 */
export const runAs = (command: Command, { uid, gid }: As): Promise<Result> =>
  new Promise((resolve) => {
    const child = spawn(command.program, command.args, { uid, gid, detached: true, cwd: '/', env: ENV });
    const [stdout, stderr] = [keep(child.stdout), keep(child.stderr)];
    let timedOut = false;
    const end = (status: number, why = ''): void => {
      clearTimeout(timer);
      child.stdout.destroy();
      child.stderr.destroy();
      resolve({ status, stdout: stdout(), stderr: stderr() + why, timedOut });
    };
    const timer = setTimeout(() => {
      timedOut = true;
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    }, command.timeoutMs);
    child.on('error', (error) => end(127, error.message));
    // What it said is read before its end is told, unless others hold the pipe open.
    child.on('exit', (code, signal) =>
      setTimeout(() => end(code ?? 128 + (signal ? constants.signals[signal] : 0)), timedOut ? 0 : LIMITS.hookDrainMs),
    );
    child.on('close', (code, signal) => end(code ?? 128 + (signal ? constants.signals[signal] : 0)));
    // A hook need not read what it is told.
    child.stdin.on('error', () => undefined);
    child.stdin.end(command.stdin ?? '');
  });
