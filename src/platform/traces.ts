import type { Command } from '../base/host.ts';
import type { Trace } from './platform.ts';

/** Collects traces by VM. */
export class Traces {
  readonly all = new Map<string, Trace[]>();

  add(vm: string | undefined, what: string, remove: Command): void {
    if (vm === undefined) return;
    const list = this.all.get(vm);
    if (list) list.push({ what, remove });
    else this.all.set(vm, [{ what, remove }]);
  }
}
