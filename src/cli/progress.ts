import type { Client } from '../api/client.ts';
import type { OperationListener } from '../api/wire.ts';
import { BrigError } from '../base/errors.ts';
import { escapeControls } from '../base/units.ts';

/** Shown only for what takes longer: quick commands stay quiet. */
const PATIENCE_MS = 1000;

export const isCancelled = (error: unknown): boolean => error instanceof BrigError && error.code === 'saga.cancelled';

export const interrupted = (what: string): BrigError =>
  new BrigError('saga.cancelled', `${what}: interrupted; everything is undone`);

/**
 * Runs an operation, or several at once, with progress on stderr. Ctrl-C takes back what can be taken back (brigd undoes it) and waits for
 * that; what only goes forward goes on in brigd.
 */
export const withProgress = async <T>(
  client: Client,
  what: string,
  undoable: boolean,
  work: (listener: OperationListener) => Promise<T>,
): Promise<T> => {
  const progress = new Progress(what);
  const begun: string[] = [];
  let isInterrupted = false;
  const cancel = (id: string): void => void client.cancel(id).catch(() => undefined);
  const interrupt = (): void => {
    if (!undoable) {
      progress.end();
      process.stderr.write(`brig: ${what} goes on in brigd; see brig list\n`);
      process.exit(130);
    }
    progress.say('interrupted: undoing');
    isInterrupted = true;
    begun.forEach(cancel);
  };
  process.on('SIGINT', interrupt);
  try {
    return await work({
      begin: (id) => {
        begun.push(id);
        // Whoever was interrupted before brigd said what to cancel cancels it now.
        if (isInterrupted) cancel(id);
      },
      event: (event) => {
        if (event.kind === 'vm.queued') progress.say(`waits, ${String(event.data.ahead)} before it`);
        if (event.kind === 'step.started')
          progress.say(`${event.data.op === 'undo' ? 'undo ' : ''}${String(event.data.step)}`);
      },
    });
  } catch (error) {
    if (isCancelled(error)) throw interrupted(what);
    throw error;
  } finally {
    process.off('SIGINT', interrupt);
    progress.end();
  }
};

class Progress {
  readonly #what: string;
  readonly #startMs = performance.now();
  readonly #timer: NodeJS.Timeout;
  #text = '';
  #shown = '';

  constructor(what: string) {
    this.#what = what;
    this.#timer = setInterval(() => this.#show(), 250);
    this.#timer.unref();
  }

  say(text: string): void {
    this.#text = escapeControls(text);
    this.#show();
  }

  #show(): void {
    const ms = performance.now() - this.#startMs;
    if (ms < PATIENCE_MS || this.#text === '') return;
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${this.#what}: ${this.#text} (${Math.floor(ms / 1000)} s)`);
    else if (this.#shown !== this.#text) process.stderr.write(`${this.#what}: ${this.#text}\n`);
    this.#shown = this.#text;
  }

  end(): void {
    clearInterval(this.#timer);
    if (this.#shown !== '' && process.stderr.isTTY) process.stderr.write('\r\x1b[K');
    this.#text = '';
  }
}
