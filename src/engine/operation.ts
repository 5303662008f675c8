import { BrigError } from '../base/errors.ts';

/** What can be under way for a VM. `clean`: after its process ended by itself. */
export type Verb = 'create' | 'start' | 'stop' | 'kill' | 'restart' | 'destroy' | 'clean' | 'repair';

/** One change of one VM, from the request to done or undone. */
export interface Operation {
  readonly id: string;
  readonly vm: string;
  readonly verb: Verb;
  readonly abort: AbortController;
  readonly done: Promise<undefined>;
}

const GERUND: Record<Verb, string> = {
  create: 'being created',
  start: 'starting',
  stop: 'stopping',
  kill: 'being killed',
  restart: 'restarting',
  destroy: 'being destroyed',
  clean: 'being cleaned up',
  repair: 'being repaired',
};

/** brig's own, which nobody asked for: whoever comes waits for the end. */
const OWN: readonly Verb[] = ['clean', 'repair'];

/** At most one operation for each VM: the second is told who was first. */
export class Operations {
  readonly #running = new Map<string, Operation>();

  find(vm: string): Operation | undefined {
    return this.#running.get(vm);
  }

  all(): Operation[] {
    return [...this.#running.values()];
  }

  /** Errors: vm.blocked when another operation of this VM is under way. */
  async run<T>(id: string, vm: string, verb: Verb, work: (operation: Operation) => Promise<T>): Promise<T> {
    let other = this.#running.get(vm);
    for (; other && OWN.includes(other.verb) && !OWN.includes(verb); other = this.#running.get(vm)) await other.done;
    if (other)
      throw new BrigError('vm.blocked', `${verb} ${vm}: blocked: already ${GERUND[other.verb]}`, {
        retry: 'later',
        details: { verb: other.verb, saga: other.id },
      });
    const { promise: done, resolve } = Promise.withResolvers<undefined>();
    const operation = { id, vm, verb, abort: new AbortController(), done };
    this.#running.set(vm, operation);
    try {
      return await work(operation);
    } finally {
      this.#running.delete(vm);
      resolve(undefined);
    }
  }
}
