import type { ConsolePort, Host } from '../base/host.ts';
import { BrigError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { escapeControls } from '../base/units.ts';
import { Pace } from './pace.ts';

/** Bounded history of one console. */
export interface History {
  append(chunk: Buffer): void;
  /** The newest bytes: all that was appended until the moment in which it resolves. */
  tail(bytes: number): Promise<Buffer>;
  /** The newest bytes, read as slowly as they are taken: as they are when the first is asked for. */
  pieces(bytes: number): AsyncIterable<Buffer>;
  flush(): Promise<void>;
}

/** Where a session's bytes go. */
export interface Reader {
  take(chunk: Buffer): void;
  /** What it was given and has not taken yet. */
  lagBytes(): number;
  /** What he types is read again, after `write` answered false. */
  goOn(): void;
  end(): void;
}

/** Who attaches, and what for. */
export interface Ask {
  /** Principal's id. */
  readonly who: string;
  readonly mayWrite: boolean;
  /** He only looks, although he may write. */
  readonly viewOnly?: boolean;
  /** He takes over from whoever writes. */
  readonly steal?: boolean;
  readonly replayBytes?: number;
  /** By which way he came. */
  readonly via?: 'api' | 'socket';
}

/** One session, for listings and the audit log. Nothing of what was said is in it. */
export interface SessionView {
  readonly id: number;
  readonly vm: string;
  readonly who: string;
  readonly via: 'api' | 'socket';
  readonly mode: 'read' | 'write';
  /** From the client to the guest. */
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly sinceMs: number;
}

/** What a person attaches to. */
export interface Attachment {
  readonly history: Buffer;
  readonly mode: 'read' | 'write';
  /** Who writes now. */
  readonly writer: string | undefined;
  /** What he is told first, after the history. */
  readonly note: Buffer;
  /** False: nobody reads what he types as fast as he does; wait for `goOn`. */
  write(chunk: Buffer): boolean;
  /** The reader has taken all that it was given. */
  drained(): void;
  close(): void;
}

/** What is said in a session, where the host's policy keeps it. */
export interface Recorder {
  /** What its client was given, or typed. */
  said(by: 'guest' | 'client', chunk: Buffer): void;
  end(): void;
}

/** Told of sessions: they begin, become the writer's, end. */
export type OnSession = (change: 'begin' | 'writes' | 'end', session: SessionView) => void;

interface Session {
  readonly id: number;
  readonly ask: Ask;
  readonly reader: Reader;
  readonly sinceMs: number;
  recorder: Recorder | undefined;
  bytesIn: number;
  bytesOut: number;
  /** What he was too slow for. */
  skipped: number;
  /** Of what he types and nobody takes. */
  readonly ignored: Pace;
}

interface ConsoleOptions {
  readonly vm: string;
  readonly host: Pick<Host, 'now' | 'sleep'>;
  readonly port: ConsolePort;
  readonly history: History;
  readonly replayBytes: number;
  readonly newId: () => number;
  readonly onSession: OnSession;
  readonly record: (session: SessionView) => Recorder | undefined;
}

/** What brig says itself on a console: to one reader, never to the guest. */
const noteOf = (text: string): Buffer => Buffer.from(`\r\n[brig: ${escapeControls(text)}]\r\n`);

const mayType = ({ ask }: Session): boolean => ask.mayWrite && ask.viewOnly !== true;
const hasRoom = ({ reader }: Session): boolean => reader.lagBytes() < LIMITS.consoleRoomBytes;

/**
 * One VM's serial console: read always, kept, given to several readers, written to by one of them.
 *
 * It is read as fast as the fastest reader takes it, up to a bound; with nobody who has room, as a fast serial line.
 * The rest stays in the FIFO: when that is full QEMU waits, and bhyve drops what its guest says. A reader who takes that
 * much gets every byte; from a slower one bytes are kept back.
 */
export class SerialConsole {
  readonly #o: ConsoleOptions;
  readonly #sessions = new Set<Session>();
  #writer: Session | undefined;
  readonly #fast: Pace;
  readonly #slow: Pace;
  /** Counts the pauses in reading; what was due for an earlier one is not due any more. */
  #pauses = 0;
  #isPaused = false;

  constructor(options: ConsoleOptions) {
    this.#o = options;
    const now = options.host.now();
    this.#fast = new Pace(LIMITS.consoleFastPerSecond, LIMITS.consoleFastBurstBytes, now);
    this.#slow = new Pace(LIMITS.consoleSlowPerSecond, LIMITS.consoleSlowBurstBytes, now);
    options.port.onData((chunk) => this.#heard(chunk));
    options.port.onDrain(() => this.#writer?.reader.goOn());
  }

  get history(): History {
    return this.#o.history;
  }

  sessions(): SessionView[] {
    return [...this.#sessions].map((session) => this.#viewOf(session));
  }

  #viewOf(session: Session): SessionView {
    const { id, ask, sinceMs, bytesIn, bytesOut } = session;
    const mode = this.#writer === session ? 'write' : 'read';
    return { id, vm: this.#o.vm, who: ask.who, via: ask.via ?? 'api', mode, bytesIn, bytesOut, sinceMs };
  }

  /** Everyone gets it, then more is read at once, or after a pause. */
  #heard(chunk: Buffer): void {
    this.#o.history.append(chunk);
    let isWanted = false;
    for (const session of this.#sessions) {
      this.#give(session, chunk);
      isWanted ||= hasRoom(session);
    }
    const cost = Math.max(chunk.length, LIMITS.consoleReadBytes);
    const waitMs = (isWanted ? this.#fast : this.#slow).spend(cost, this.#o.host.now());
    if (waitMs > 0) this.#pause(waitMs);
  }

  #give(session: Session, chunk: Buffer): void {
    if (session.skipped > 0 || session.reader.lagBytes() + chunk.length > LIMITS.consoleLagBytes)
      session.skipped += chunk.length;
    else {
      session.bytesOut += chunk.length;
      session.recorder?.said('guest', chunk);
      session.reader.take(chunk);
    }
  }

  #pause(forMs: number): void {
    const nth = ++this.#pauses;
    this.#isPaused = true;
    this.#o.port.pause();
    void this.#o.host.sleep(forMs).then(() => nth === this.#pauses && this.#resume());
  }

  #resume(): void {
    if (!this.#isPaused) return;
    this.#pauses++;
    this.#isPaused = false;
    this.#o.port.resume();
  }

  /** Errors: acl.denied, api.busy. */
  async attach(ask: Ask, reader: Reader): Promise<Attachment> {
    const { vm } = this.#o;
    if (ask.steal && (!ask.mayWrite || ask.viewOnly))
      throw new BrigError('acl.denied', `attach ${vm}: expected who takes over to be one who may write, got a reader`);
    this.#checkRoom(ask);
    const history = await this.#o.history.tail(ask.replayBytes ?? this.#o.replayBytes);
    // Others came while it was read.
    this.#checkRoom(ask);
    const session = this.#newSession(ask, reader);
    this.#sessions.add(session);
    const note = this.#seat(session);
    session.recorder = this.#o.record(this.#viewOf(session));
    this.#o.onSession('begin', this.#viewOf(session));
    return {
      history,
      note,
      mode: this.#writer === session ? 'write' : 'read',
      writer: this.#writer?.ask.who,
      write: (chunk) => this.#type(session, chunk),
      drained: () => this.#drained(session),
      close: () => this.#leave(session),
    };
  }

  /** Readers leave room for whoever may write, and nobody takes the places of all others. Errors: api.busy. */
  #checkRoom({ who, mayWrite }: Ask): void {
    const asks = [...this.#sessions].map(({ ask }) => ask);
    const own = asks.filter((ask) => ask.who === who).length;
    const readers = asks.filter((ask) => !ask.mayWrite).length;
    const { consoleSessionsEach: each, consoleReaders: most } = LIMITS;
    if (own >= each) throw this.#full(`${each} sessions of one user`);
    if (!mayWrite && readers >= most) throw this.#full(`${most} readers`);
  }

  #full(most: string): BrigError {
    return new BrigError('api.busy', `attach ${this.#o.vm}: expected at most ${most} at its console, got more`, {
      retry: 'later',
    });
  }

  #newSession(ask: Ask, reader: Reader): Session {
    const nowMs = this.#o.host.now();
    const ignored = new Pace(LIMITS.consoleIgnoredPerSecond, LIMITS.consoleIgnoredBurstBytes, nowMs);
    const counts = { bytesIn: 0, bytesOut: 0, skipped: 0 };
    return { id: this.#o.newId(), ask, reader, sinceMs: nowMs, recorder: undefined, ...counts, ignored };
  }

  /** Whether he writes, and what he is told when he does not. */
  #seat(session: Session): Buffer {
    const former = this.#writer;
    if (!mayType(session)) return former ? noteOf(`${former.ask.who} writes; you read`) : noteOf('you read');
    if (former && !session.ask.steal) return noteOf(`${former.ask.who} writes; you read; --steal takes over`);
    this.#writer = session;
    if (!former) return Buffer.alloc(0);
    this.#tell(former, `${session.ask.who} took over; you read`);
    // What the guest did not read in time, he need not wait for any more.
    former.reader.goOn();
    return noteOf(`you took over from ${former.ask.who}`);
  }

  /** When nobody writes, whoever may and types does. What a reader types goes nowhere. */
  #type(session: Session, chunk: Buffer): boolean {
    if (!this.#writer && this.#sessions.has(session) && mayType(session)) {
      this.#writer = session;
      this.#o.onSession('writes', this.#viewOf(session));
    }
    if (this.#writer !== session) return this.#ignore(session, chunk.length);
    session.bytesIn += chunk.length;
    session.recorder?.said('client', chunk);
    return this.#o.port.write(chunk);
  }

  /** It goes nowhere, and is read no faster than anybody types: else it would cost as much as what is wanted. */
  #ignore({ ignored, reader }: Session, bytes: number): boolean {
    const { host } = this.#o;
    const waitMs = ignored.spend(Math.max(bytes, LIMITS.consoleIgnoredReadBytes), host.now());
    if (waitMs > 0) void host.sleep(waitMs).then(() => reader.goOn());
    return waitMs === 0;
  }

  #tell(session: Session, text: string): void {
    if (session.reader.lagBytes() < LIMITS.consoleLagBytes) session.reader.take(noteOf(text));
  }

  #drained(session: Session): void {
    if (!this.#sessions.has(session)) return;
    const { skipped } = session;
    session.skipped = 0;
    if (skipped > 0) this.#tell(session, `${skipped} bytes left out: you read too slowly`);
    this.#resume();
  }

  #leave(session: Session): void {
    if (!this.#sessions.delete(session)) return;
    const view = this.#viewOf(session);
    session.recorder?.end();
    if (this.#writer === session) {
      this.#writer = undefined;
      for (const other of this.#sessions)
        if (mayType(other)) this.#tell(other, `${session.ask.who} left; you write when you type`);
    }
    this.#o.onSession('end', view);
  }

  /** What the guest said until now may wait for its turn: whoever asks for it has it. */
  catchUp(): void {
    this.#takeRest();
    if (!this.#isPaused) this.#o.port.resume();
  }

  #takeRest(): void {
    const rest = this.#o.port.rest();
    if (rest.length > 0) this.#heard(rest);
  }

  async close(): Promise<void> {
    this.#takeRest();
    this.#pauses++;
    this.#o.port.close();
    for (const session of [...this.#sessions]) {
      this.#leave(session);
      session.reader.end();
    }
    await this.#o.history.flush();
  }
}
