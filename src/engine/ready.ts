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

  /** Resolves when it is ready with undefined, otherwise with the reason why it is not. */
  async wait(): Promise<string | undefined> {
    const { host, boot, isUp } = this.#o;
    const { ready, readyTimeoutSeconds } = boot;
    if (!ready) return undefined;
    if ('delaySeconds' in ready) {
      await host.sleep(ready.delaySeconds * 1000);
      return isUp() ? undefined : GONE;
    }
    const deadline = host.now() + readyTimeoutSeconds * 1000;
    const [what, holds] =
      'console' in ready
        ? ([`${JSON.stringify(ready.console)} on its console`, () => this.#hasSaid(ready.console)] as const)
        : ([
            `port ${ready.port.port} of ${ready.port.address}`,
            () => host.connects(ready.port.address, ready.port.port),
          ] as const);
    while (isUp()) {
      if (await holds()) return undefined;
      if (host.now() >= deadline) return `expected ${what} within ${readyTimeoutSeconds} s, got nothing`;
      await host.sleep(LIMITS.bootPollMs);
    }
    return GONE;
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

const GONE = 'it does not run any more';
