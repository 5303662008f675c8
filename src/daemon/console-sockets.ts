import { readFile, rm } from 'node:fs/promises';
import type { Duplex } from 'node:stream';
import { pipeConsole } from '../api/console.ts';
import { BrigError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import type { Consoles } from '../engine/consoles.ts';
import { makeDirectory, writeText } from '../io/files.ts';
import { listenAt, type Listening } from '../io/listen.ts';

/** What a user may do at a console now. */
export interface Access {
  /** The principal's id. */
  readonly who: string;
  readonly mayWrite: boolean;
}

export interface ConsoleSocketsOptions {
  /** Gone after a reboot, as the VMs are. */
  readonly dir: string;
  readonly consoles: Consoles;
  /** Asked for each socket when brigd comes back, and for each connection. Undefined: he may not even look. */
  readonly mayStill: (uid: number, vm: string) => Access | undefined;
  /** Told of whom nobody lets in: he hears nothing but the end of his connection. */
  readonly refused: (uid: number, vm: string, error: unknown) => void;
}

interface Open {
  readonly uid: number;
  readonly vm: string;
  readonly who: string;
  readonly path: string;
  readonly listening: Listening;
  /** With what each may do there: it was asked for when he came. */
  readonly connections: Map<Duplex, Access>;
}

type Kept = Pick<Open, 'uid' | 'vm'>;

const isKept = (value: unknown): value is Kept =>
  typeof value === 'object' &&
  value !== null &&
  'uid' in value &&
  Number.isSafeInteger(value.uid) &&
  'vm' in value &&
  typeof value.vm === 'string' &&
  /^[a-z0-9-]{1,63}$/.test(value.vm);

const ROOT = { uid: 0, gid: 0 };

/**
 * Unix sockets of consoles for other tools: one for each user and VM, which the kernel lets nobody else connect to.
 * Shape: DIR/UID/VM.sock, the directories root's and 0711, the socket the user's and 0600
 */
export class ConsoleSockets {
  readonly #o: ConsoleSocketsOptions;
  readonly #open = new Map<string, Open>();
  #turn: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  constructor(options: ConsoleSocketsOptions) {
    this.#o = options;
    options.consoles.onClose((vm) => {
      if (!this.#isClosed) this.#end((open) => open.vm === vm);
    });
  }

  /**
   * Its path; the same one while it is there.
   * Errors: vm.blocked when the VM does not run; acl.denied; host.failed when it cannot be made.
   */
  open(vm: string, uid: number): Promise<string> {
    return this.#inTurn(async () => {
      const access = this.#accessOf(uid, vm);
      if (!(await this.#o.consoles.isOpen(vm)))
        throw new BrigError('vm.blocked', `console ${vm}: blocked: it is not running`, { hint: `brig start ${vm}` });
      const path = `${this.#o.dir}/${uid}/${vm}.sock`;
      if (!this.#open.has(path)) await this.#listen({ uid, vm, who: access.who, path, connections: new Map() });
      await this.#remember();
      return path;
    });
  }

  /** Errors: acl.denied. */
  #accessOf(uid: number, vm: string): Access {
    const access = this.#o.mayStill(uid, vm);
    if (access) return access;
    throw new BrigError('acl.denied', `console ${vm}: expected a user who may see it, got uid ${uid}`);
  }

  async #listen(entry: Omit<Open, 'listening'>): Promise<void> {
    const { dir } = this.#o;
    await makeDirectory(dir, { mode: 0o711, ...ROOT });
    await makeDirectory(`${dir}/${entry.uid}`, { mode: 0o711, ...ROOT });
    const listening = await listenAt(entry.path, entry.uid, (socket) => {
      socket.on('error', () => socket.destroy());
      void this.#connect(entry, socket).catch((error: unknown) => {
        socket.destroy();
        this.#o.refused(entry.uid, entry.vm, error);
      });
    });
    this.#open.set(entry.path, { ...entry, listening });
  }

  /** What he may do is asked again: grants come and go. Errors: acl.denied, those of Consoles.attach. */
  async #connect({ uid, vm, connections }: Omit<Open, 'listening'>, socket: Duplex): Promise<void> {
    const access = this.#accessOf(uid, vm);
    const most = LIMITS.consoleSocketConnections;
    if (connections.size >= most)
      throw new BrigError('api.busy', `console ${vm}: expected at most ${most} connections to its socket, got more`);
    connections.set(socket, access);
    socket.on('close', () => connections.delete(socket));
    await pipeConsole(this.#o.consoles, vm, { ...access, via: 'socket' }, socket);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }

  get #file(): string {
    return `${this.#o.dir}/open.json`;
  }

  async #remember(): Promise<void> {
    const kept = [...this.#open.values()].map(({ uid, vm }): Kept => ({ uid, vm }));
    await makeDirectory(this.#o.dir, { mode: 0o711, ...ROOT });
    await writeText(this.#file, JSON.stringify(kept), { mode: 0o600, ...ROOT });
  }

  async #recall(): Promise<Kept[]> {
    try {
      const kept: unknown = JSON.parse(await readFile(this.#file, 'utf8'));
      return Array.isArray(kept) ? kept.filter(isKept) : [];
    } catch {
      return [];
    }
  }

  /** Those of an earlier brigd, of VMs that still run and users who still may; nothing else is left. */
  async restore(): Promise<void> {
    const kept = await this.#inTurn(async () => {
      const found = await this.#recall();
      await rm(this.#o.dir, { recursive: true, force: true });
      return found;
    });
    for (const { uid, vm } of kept) await this.open(vm, uid).catch(() => undefined);
  }

  #end(match: (open: Open) => boolean): void {
    const found = [...this.#open.values()].filter(match);
    for (const { path, listening } of found) {
      this.#open.delete(path);
      listening.end();
    }
    if (found.length > 0) void this.#inTurn(() => this.#remember()).catch(() => undefined);
  }

  /** Rules, users or groups are others: sockets of whoever may not be there any more go, and who may do less there now. */
  review(): void {
    const { mayStill } = this.#o;
    this.#end(({ uid, vm, who }) => mayStill(uid, vm)?.who !== who);
    for (const { uid, vm, connections } of this.#open.values())
      for (const [socket, could] of connections)
        if (could.mayWrite && mayStill(uid, vm)?.mayWrite !== true) socket.destroy();
  }

  /** brigd ends: nobody gets in any more, and the next one opens them again. Before the consoles close. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#turn;
    for (const { listening } of this.#open.values()) {
      listening.end();
    }
    this.#open.clear();
  }
}
