import { BrigError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { Lane } from './lane.ts';

/** What can be under way for a VM. `clean`: after its process ended by itself. */
export type Verb =
  | 'attach'
  | 'detach'
  | 'create'
  | 'edit'
  | 'start'
  | 'stop'
  | 'kill'
  | 'restart'
  | 'destroy'
  | 'clean'
  | 'repair'
  | Data;
/** What is done to a VM's data, and not to its run. */
type Data = (typeof DATA)[number];
const DATA = ['snapshot', 'prune', 'rollback', 'resize', 'promote', 'read'] as const;
export const isOfData = (verb: string): boolean => DATA.some((each) => each === verb);

/** One change of one VM, from the request to done or undone. */
export interface Operation {
  readonly id: string;
  readonly vm: string;
  readonly verb: Verb;
  readonly abort: AbortController;
  /** Its guest gets no more time to shut down. */
  readonly hurry: AbortController;
  readonly done: Promise<undefined>;
  /** It waits for its turn: nothing is touched yet. */
  queued: boolean;
}

/** What is asked for. */
export interface Asked {
  readonly id: string;
  readonly vm: string;
  readonly verb: Verb;
  /** Whose VM it is, with whom he shares his turns. */
  readonly owner?: string | undefined;
  /** Told once, before it waits or works; `ahead`: how many wait before it, undefined when it need not wait. */
  readonly onBegin: (operation: Operation, ahead: number | undefined) => void;
}

const GERUND: Record<Verb, string> = {
  attach: 'getting a jail',
  detach: 'losing a jail',
  create: 'being created',
  edit: 'being edited',
  start: 'starting',
  stop: 'stopping',
  kill: 'being killed',
  restart: 'restarting',
  destroy: 'being destroyed',
  clean: 'being cleaned up',
  repair: 'being repaired',
  snapshot: 'making a snapshot',
  prune: 'removing a snapshot',
  rollback: 'being rolled back',
  resize: 'being resized',
  promote: 'being made independent of its image',
  read: 'being read',
};

/** brig's own, which nobody asked for. */
const OWN: readonly Verb[] = ['clean', 'repair'];
/** Short, and maybe of nobody's asking: whoever comes waits for the end. */
const WAITED_FOR: readonly Verb[] = [...OWN, 'snapshot', 'prune'];

/** Who works, who waits for a guest, and what is brig's own do not wait for each other. */
const LANES = { work: LIMITS.workPerCore, wait: LIMITS.waitsPerCore, own: LIMITS.ownPerCore } as const;
const LANE: Record<Verb, keyof typeof LANES> = {
  attach: 'work',
  detach: 'work',
  create: 'work',
  edit: 'work',
  start: 'work',
  stop: 'wait',
  kill: 'own',
  restart: 'wait',
  destroy: 'wait',
  clean: 'own',
  repair: 'own',
  snapshot: 'own',
  prune: 'own',
  rollback: 'work',
  resize: 'work',
  promote: 'work',
  read: 'wait',
};

/** What takes things away goes on to its end. */
const ENDING: readonly Verb[] = ['stop', 'kill', 'destroy', 'clean'];

/** These ask a guest to shut down, and wait for it. */
const GIVING_TIME: readonly Verb[] = ['stop', 'restart', 'destroy'];

const alreadyBusy = (verb: Verb, vm: string, other: Operation): BrigError =>
  new BrigError('vm.blocked', `${verb} ${vm}: blocked: already ${GERUND[other.verb]}`, {
    retry: 'later',
    details: { verb: other.verb, saga: other.id },
  });

/** At most one operation for each VM: the second is told who was first. Of all VMs, so many at once as the host has cores for. */
export class Operations {
  readonly #running = new Map<string, Operation>();
  readonly #lanes: Record<keyof typeof LANES, Lane>;

  /** Another one whenever an operation comes, has its turn or goes. */
  version = 0;
  #closed = false;

  constructor(cores: number) {
    const lane = (kind: keyof typeof LANES): Lane => new Lane(cores * LANES[kind]);
    this.#lanes = { work: lane('work'), wait: lane('wait'), own: lane('own') };
  }

  /** Nothing new begins. */
  close(): void {
    this.#closed = true;
  }

  find(vm: string): Operation | undefined {
    return this.#running.get(vm);
  }

  all(): Operation[] {
    return [...this.#running.values()];
  }

  /** Undone as soon as it can be, or not begun; false: it goes on to its end. */
  cancel({ verb, queued, abort }: Operation): boolean {
    if (!queued && ENDING.includes(verb)) return false;
    abort.abort();
    return true;
  }

  /** Whoever gives a guest time to shut down gives it none any more; resolves when that is over. */
  async hasten(vm: string): Promise<void> {
    const other = this.#running.get(vm);
    if (!other || !GIVING_TIME.includes(other.verb)) return;
    (other.queued ? other.abort : other.hurry).abort();
    await other.done;
  }

  /** Errors: vm.blocked when another operation of this VM is under way, or too many wait; saga.cancelled while it waits. */
  async run<T>({ id, vm, verb, owner, onBegin }: Asked, work: (operation: Operation) => Promise<T>): Promise<T> {
    let other = this.#running.get(vm);
    for (; other && WAITED_FOR.includes(other.verb) && !OWN.includes(verb); other = this.#running.get(vm))
      await other.done;
    if (other) throw alreadyBusy(verb, vm, other);
    if (this.#closed)
      throw new BrigError('vm.blocked', `${verb} ${vm}: blocked: brigd is going down`, { retry: 'later' });
    const { promise: done, resolve } = Promise.withResolvers<undefined>();
    const lane = this.#lanes[LANE[verb]];
    const ahead = lane.ahead(owner);
    if ((ahead ?? 0) >= LIMITS.operationsWaiting)
      throw new BrigError('vm.blocked', `${verb} ${vm}: blocked: ${ahead} operations wait already`, { retry: 'later' });
    const [abort, hurry] = [new AbortController(), new AbortController()];
    const operation: Operation = { id, vm, verb, abort, hurry, done, queued: ahead !== undefined };
    this.#running.set(vm, operation);
    this.version++;
    try {
      onBegin(operation, ahead);
      const begin = (): Promise<T> => {
        operation.queued = false;
        this.version++;
        return work(operation);
      };
      return await lane.run(abort.signal, begin, owner);
    } finally {
      this.#running.delete(vm);
      this.version++;
      resolve(undefined);
    }
  }
}
