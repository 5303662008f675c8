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
  readonly done: Promise<undefined>;
  /** It waits for its turn: nothing is touched yet. */
  queued: boolean;
}

/** What is asked for. */
export interface Asked {
  readonly id: string;
  readonly vm: string;
  readonly verb: Verb;
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
  kill: 'wait',
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

  /** Errors: vm.blocked when another operation of this VM is under way, or too many wait; saga.cancelled while it waits. */
  async run<T>({ id, vm, verb, onBegin }: Asked, work: (operation: Operation) => Promise<T>): Promise<T> {
    let other = this.#running.get(vm);
    for (; other && WAITED_FOR.includes(other.verb) && !OWN.includes(verb); other = this.#running.get(vm))
      await other.done;
    if (other) throw alreadyBusy(verb, vm, other);
    if (this.#closed)
      throw new BrigError('vm.blocked', `${verb} ${vm}: blocked: brigd is going down`, { retry: 'later' });
    const { promise: done, resolve } = Promise.withResolvers<undefined>();
    const lane = this.#lanes[LANE[verb]];
    const { ahead } = lane;
    if ((ahead ?? 0) >= LIMITS.operationsWaiting)
      throw new BrigError('vm.blocked', `${verb} ${vm}: blocked: ${ahead} operations wait already`, { retry: 'later' });
    const operation: Operation = { id, vm, verb, abort: new AbortController(), done, queued: ahead !== undefined };
    this.#running.set(vm, operation);
    this.version++;
    try {
      onBegin(operation, ahead);
      return await lane.run(operation.abort.signal, () => {
        operation.queued = false;
        this.version++;
        return work(operation);
      });
    } finally {
      this.#running.delete(vm);
      this.version++;
      resolve(undefined);
    }
  }
}
