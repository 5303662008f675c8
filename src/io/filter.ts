import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { pipeline } from 'node:stream/promises';
import { BrigError } from '../base/errors.ts';
import { escapeControls } from '../base/units.ts';

/** What reads what others made runs as nobody, where we may choose. */
const NOBODY = 65_534;
export const asNobody = (): { uid: number; gid: number } | undefined =>
  process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : undefined;

const ENV = { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };
const QUOTED = 500;

export interface FilterProgram {
  readonly program: string;
  readonly args: readonly string[];
  /** What to install where it is missing. */
  readonly package: string;
}

/** Bytes through a program. Errors: host.missing with the package; image.invalid with what the program says. */
export const filter = async function* (
  source: AsyncIterable<Uint8Array>,
  { program, args, package: wanted }: FilterProgram,
): AsyncGenerator<Buffer> {
  const child = spawn(program, args, { ...asNobody(), stdio: ['pipe', 'pipe', 'pipe'], env: ENV, cwd: '/' });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-QUOTED)));
  const ended = new Promise<number>((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) =>
      reject(
        error.code === 'ENOENT'
          ? new BrigError('host.missing', `run ${program}: no such program`, { hint: `install ${wanted}` })
          : new BrigError('host.failed', `run ${program}: ${error.message}`),
      ),
    );
    child.once('close', (status, signal) => resolve(status ?? 128 + (signal ? constants.signals[signal] : 0)));
  });
  ended.catch(() => undefined);
  // A program that ends early says why by itself; a source that fails is told first.
  let trouble: unknown;
  const fed = pipeline(source, child.stdin).catch((error: unknown) => {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EPIPE' || code === 'ERR_STREAM_PREMATURE_CLOSE') return;
    trouble = error;
    child.kill('SIGKILL');
  });
  try {
    for await (const chunk of child.stdout) yield chunk as Buffer;
    const status = await ended;
    await fed;
    if (trouble instanceof Error) throw trouble;
    if (status !== 0)
      throw new BrigError(
        'image.invalid',
        `run ${[program, ...args].join(' ')}: status ${status}: ${escapeControls(said.trim()).replaceAll('\n', '; ')}`,
      );
  } finally {
    child.kill('SIGKILL');
  }
};
