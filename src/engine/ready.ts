import type { Host } from '../base/host.ts';
import { LIMITS } from '../base/limits.ts';
import type { VmSpec } from '../spec/vm.ts';

export interface ReadyOptions {
  readonly host: Host;
  readonly boot: VmSpec['boot'];
  /** The console's history: the newer of two files, the older has `.old` behind its name. */
  readonly consoleLog: string;
  /** False: nothing will come of it any more. */
  readonly isUp: () => boolean;
}

interface Condition {
  /** For people. */
  readonly what: string;
  readonly holds: () => Promise<boolean>;
  readonly withinMs: number;
}

/** History is kept over runs: what came since it read `before`; all of it when nothing of that is left. */
export const textSince = (before: string, old: string, log: string): string => {
  if (log.startsWith(before)) return log.slice(before.length);
  return old.startsWith(before) ? old.slice(before.length) + log : old + log;
};

/** Whether others may count on a VM. Made before it is started: what its console said before does not count. */
export class Readiness {
  readonly #o: ReadyOptions;
  readonly #before: string;
  #looked = '';

  private constructor(options: ReadyOptions, before: string) {
    this.#o = options;
    this.#before = before;
  }

  static async before(options: ReadyOptions): Promise<Readiness> {
    const { host, boot, consoleLog } = options;
    const asks = boot.ready !== undefined && 'console' in boot.ready;
    const text = asks ? ((await host.readFile(consoleLog)) ?? '') : '';
    // A character that was cut in two reads otherwise when the rest of it has come.
    return new Readiness(options, text.replace(/\uFFFD+$/, ''));
  }

  /** For a VM that ran before anybody looked: all its history counts. */
  fromTheBeginning(): Readiness {
    return new Readiness(this.#o, '');
  }

  /** Resolves when it is ready with undefined, otherwise with the reason why it is not. */
  async wait(): Promise<string | undefined> {
    const { host, boot, isUp } = this.#o;
    if (!boot.ready) return undefined;
    const { what, holds, withinMs } = this.#condition(boot.ready);
    const deadline = host.now() + withinMs;
    while (isUp()) {
      if (await holds()) return undefined;
      if (host.now() >= deadline) return `expected ${what} within ${withinMs / 1000} s, got nothing`;
      await host.sleep(LIMITS.bootPollMs);
    }
    return 'it does not run any more';
  }

  #condition(ready: NonNullable<VmSpec['boot']['ready']>): Condition {
    const { host, boot } = this.#o;
    const withinMs = boot.readyTimeoutSeconds * 1000;
    if ('console' in ready) {
      const what = `${JSON.stringify(ready.console)} on its console`;
      return { what, holds: () => this.#hasSaid(ready.console), withinMs };
    }
    if ('port' in ready) {
      const { address, port } = ready.port;
      return { what: `port ${port} of ${address}`, holds: () => host.connects(address, port), withinMs };
    }
    const until = host.now() + ready.delaySeconds * 1000;
    const holds = (): Promise<boolean> => Promise.resolve(host.now() >= until);
    return { what: 'time to pass', holds, withinMs: Infinity };
  }

  /** Reads only what has changed. */
  async #hasSaid(text: string): Promise<boolean> {
    const { host, consoleLog } = this.#o;
    const stat = await host.stat(consoleLog);
    const look = stat ? `${stat.bytes} ${stat.modifiedMs}` : '';
    if (look === this.#looked) return false;
    this.#looked = look;
    const log = (await host.readFile(consoleLog)) ?? '';
    const old = log.startsWith(this.#before) ? '' : ((await host.readFile(`${consoleLog}.old`)) ?? '');
    return textSince(this.#before, old, log).includes(text);
  }
}
