import { setTimeout as sleep } from 'node:timers/promises';
import type { ConsoleStream } from '../api/console-client.ts';
import { BrigError } from '../base/errors.ts';
import { Escape } from './escape.ts';
import { Resume } from './resume.ts';

/** A script's input has an end: what the guest answers is waited for this long. */
const QUIET_MS = 800;
/** brigd that restarts is back by then. */
const PATIENCE_MS = 60_000;
const AGAIN_MS = 500;
/** Who was attached for so long is not let go again and again. */
const STEADY_MS = 5_000;

const HELP = [
  '~.  detach',
  '~~  a tilde',
  "~w  type `stty rows R cols C' with this terminal's size to the guest",
  '~?  this',
];

export interface AttachOptions {
  readonly name: string;
  /** Attaches anew; `isBack` after a loss. */
  readonly open: (isBack: boolean) => Promise<ConsoleStream>;
  readonly input: NodeJS.ReadableStream;
  readonly output: NodeJS.WritableStream;
  /** To the person, not to the guest. */
  readonly tell: (line: string) => void;
  readonly size: () => { readonly rows: number; readonly columns: number };
}

/** How one attachment ended: the person or his script did it, or it was lost. */
type End = 'detached' | 'done' | 'lost';

/** Somebody at a console, who comes back by himself when brigd restarts. */
export class Attached {
  readonly #o: AttachOptions;
  readonly #escape = new Escape();
  readonly #resume = new Resume();
  #console: ConsoleStream | undefined;
  #end: (end: End) => void = () => undefined;
  #hasLeft = false;
  /** Runs once a script's input has ended. */
  #quiet: NodeJS.Timeout | undefined;

  constructor(options: AttachOptions) {
    this.#o = options;
  }

  /** Resolves when he detached, his script is done or the console closed. Errors: those of the first attachment. */
  async run(): Promise<void> {
    const { name, open, input, tell } = this.#o;
    const console = await open(false);
    input.on('data', (chunk: Buffer) => this.#typed(chunk));
    input.on('end', () => this.#arm());
    try {
      let lostAt: number | undefined;
      for (let next: ConsoleStream | undefined = console; next; next = await this.#comeBack(lostAt + PATIENCE_MS)) {
        const sinceMs = performance.now();
        const end = await this.#carry(next);
        if (end === 'detached') tell(`detached from ${name}`);
        if (end !== 'lost') return;
        if (performance.now() - sinceMs > STEADY_MS) lostAt = undefined;
        lostAt ??= performance.now();
      }
    } finally {
      clearTimeout(this.#quiet);
    }
  }

  /** Bytes both ways until one side ends. */
  #carry(console: ConsoleStream): Promise<End> {
    const { stream } = console;
    const { output } = this.#o;
    this.#console = console;
    this.#resume.begin(console.historyBytes);
    return new Promise<End>((resolve) => {
      this.#end = (end) => {
        this.#console = undefined;
        this.#o.input.resume();
        stream.destroy();
        resolve(end);
      };
      stream.on('data', (chunk: Buffer) => {
        if (!output.write(this.#resume.feed(chunk))) {
          stream.pause();
          output.once('drain', () => stream.resume());
        }
        if (this.#quiet) this.#arm();
      });
      stream.on('drain', () => this.#o.input.resume());
      stream.on('error', () => undefined);
      for (const event of ['end', 'close']) stream.on(event, () => this.#end('lost'));
    });
  }

  #arm(): void {
    clearTimeout(this.#quiet);
    this.#quiet = setTimeout(() => this.#leave('done'), QUIET_MS);
  }

  #leave(end: 'detached' | 'done'): void {
    this.#hasLeft = true;
    clearTimeout(this.#quiet);
    this.#end(end);
  }

  #typed(chunk: Buffer): void {
    for (const typed of this.#escape.feed(chunk)) {
      if ('send' in typed) this.#send(typed.send);
      else if (typed.ask === 'detach') this.#leave('detached');
      else if (typed.ask === 'help') HELP.forEach((line) => this.#o.tell(line));
      else {
        const { rows, columns } = this.#o.size();
        this.#send(Buffer.from(`stty rows ${rows} cols ${columns}\r`));
      }
    }
  }

  /** The guest may be slow; what is typed while nobody is there goes nowhere. */
  #send(bytes: Buffer): void {
    if (this.#console && !this.#console.stream.write(bytes)) this.#o.input.pause();
  }

  /** Attached again; undefined when that is over. */
  async #comeBack(untilMs: number): Promise<ConsoleStream | undefined> {
    const { name, open, tell } = this.#o;
    let isTold = false;
    while (!this.#hasLeft && performance.now() < untilMs) {
      try {
        const console = await open(true);
        tell(isTold ? `brigd is back; attached to ${name} again` : `attached to ${name} again`);
        return console;
      } catch (error) {
        if (this.#isClosed(error)) return;
        if (!isTold) tell(`console of ${name} lost: brigd went away; waiting for it, ~. detaches`);
        isTold = true;
        await sleep(AGAIN_MS);
      }
    }
    if (!this.#hasLeft)
      throw new BrigError('daemon.unreachable', `console ${name}: brigd did not come back within a minute`);
    return undefined;
  }

  /** The VM stopped. Errors: why he may not be there any more. */
  #isClosed(error: unknown): boolean {
    const code = error instanceof BrigError ? error.code : undefined;
    if (code === 'daemon.unreachable') return false;
    if (code !== 'vm.blocked' && code !== 'vm.unknown') throw error;
    this.#o.tell(`console of ${this.#o.name} closed`);
    return true;
  }
}
