import { spawn, type ChildProcess } from 'node:child_process';
import { LIMITS } from '../base/limits.ts';
import { ENV } from './exec.ts';

export interface SyslogOptions {
  /** Called when lines go through again, with how many did not. */
  onDropped(count: number): void;
  /** A program that takes lines on its stdin. Source: logger(1). */
  readonly program?: string;
  readonly args?: readonly string[];
  readonly againMs?: number;
}

const LOGGER = '/usr/bin/logger';
const ARGS = ['-t', 'brigd', '-p', 'auth.info'];

type Child = ChildProcess & { readonly stdin: NonNullable<ChildProcess['stdin']> };

/**
 * Lines to syslogd(8), by one logger(1) that lives as long as brigd does. Never waits: what comes faster than it is taken
 * is counted and dropped.
 */
export class Syslog {
  readonly #o: SyslogOptions;
  #child: Child | undefined;
  #again: NodeJS.Timeout | undefined;
  readonly #firstMs: number;
  #againMs: number;
  #startedMs = 0;
  #queue: string[] = [];
  #isFull = false;
  #dropped = 0;
  #isClosed = false;

  constructor(options: SyslogOptions) {
    this.#o = options;
    this.#againMs = this.#firstMs = options.againMs ?? LIMITS.syslogAgainMs;
    this.#start();
  }

  /** One line of printable ASCII, without its end. */
  write(line: string): void {
    if (this.#isClosed || this.#queue.length >= LIMITS.syslogQueued) this.#dropped++;
    else {
      this.#queue.push(line);
      this.#pass();
    }
  }

  #start(): void {
    const child = spawn(this.#o.program ?? LOGGER, this.#o.args ?? ARGS, {
      stdio: ['pipe', 'ignore', 'ignore'],
      cwd: '/',
      env: ENV,
    });
    this.#child = child;
    this.#startedMs = performance.now();
    this.#isFull = false;
    child.unref();
    child.stdin.on('drain', () => this.#resume(child));
    child.stdin.on('error', () => child.kill());
    child.once('spawn', () => this.#pass());
    child.once('error', () => this.#restart(child));
    child.once('exit', () => this.#restart(child));
  }

  #resume(child: Child): void {
    if (this.#child !== child) return;
    this.#isFull = false;
    this.#pass();
  }

  /** As much as it takes now; what was dropped before is told with the first that goes through. */
  #pass(): void {
    const child = this.#child;
    if (!child || this.#isFull || this.#queue.length === 0 || child.pid === undefined) return;
    const lines = this.#queue;
    this.#queue = [];
    this.#isFull = !child.stdin.write(lines.map((line) => `${line.slice(0, LIMITS.syslogLineBytes)}\n`).join(''));
    const dropped = this.#dropped;
    this.#dropped = 0;
    if (dropped > 0) this.#o.onDropped(dropped);
  }

  /** What it had not read is lost with it. */
  #restart(child: Child): void {
    if (this.#child !== child) return;
    this.#child = undefined;
    if (this.#isClosed) return;
    if (performance.now() - this.#startedMs > LIMITS.syslogAgainMostMs) this.#againMs = this.#firstMs;
    this.#again = setTimeout(() => this.#start(), this.#againMs);
    this.#again.unref();
    this.#againMs = Math.min(2 * this.#againMs, LIMITS.syslogAgainMostMs);
  }

  /** What it has been given it still passes on. */
  close(): void {
    this.#pass();
    this.#isClosed = true;
    clearTimeout(this.#again);
    this.#child?.stdin.end();
  }
}
