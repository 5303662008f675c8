import type { Host } from '../base/host.ts';
import { BrigError } from '../base/errors.ts';
import { SerialConsole, type Ask, type Attachment, type History, type OnSession, type Reader } from './console.ts';
import type { Recorder, SessionView } from './console.ts';

export interface ConsolesOptions {
  readonly host: Host;
  readonly paths: (vm: string) => { readonly conIn: string; readonly conOut: string };
  readonly history: (vm: string) => History;
  /** Bytes of history that a reader gets first. */
  readonly replayBytes: number;
  readonly onSession?: OnSession;
  /** Absent: nothing of what is said is kept but the history. */
  readonly record?: ((session: SessionView) => Recorder) | undefined;
}

/** The serial consoles of all running VMs: read always, so that their FIFOs do not fill; kept, bounded; fanned out. */
export class Consoles {
  readonly #o: ConsolesOptions;
  readonly #open = new Map<string, SerialConsole>();
  /** Of a VM, those that are being opened or closed: one after the other. */
  readonly #turns = new Map<string, Promise<unknown>>();
  readonly #onClose = new Set<(vm: string) => void>();
  #ids = 0;

  constructor(options: ConsolesOptions) {
    this.#o = options;
  }

  /** Errors: host.missing when the FIFOs are not there. */
  open(vm: string): Promise<void> {
    return this.#inTurn(vm, async () => {
      if (this.#open.has(vm)) return;
      const { conIn, conOut } = this.#o.paths(vm);
      const port = await this.#o.host.console(conIn, conOut);
      const { host, history, replayBytes, onSession = () => undefined, record = () => undefined } = this.#o;
      const newId = (): number => ++this.#ids;
      const console = new SerialConsole({
        ...{ vm, host, port, history: history(vm), replayBytes, newId, onSession, record },
      });
      this.#open.set(vm, console);
      port.onClose(() => this.#open.get(vm) === console && void this.close(vm));
    });
  }

  #inTurn<T>(vm: string, work: () => Promise<T>): Promise<T> {
    const result = (this.#turns.get(vm) ?? Promise.resolve()).then(work);
    const done = result.catch(() => undefined).finally(() => this.#turns.get(vm) === done && this.#turns.delete(vm));
    this.#turns.set(vm, done);
    return result;
  }

  /** Its sessions end at once; resolves when its history is written. */
  close(vm: string): Promise<void> {
    const console = this.#open.get(vm);
    const isOpening = this.#turns.has(vm);
    if (!console && !isOpening) return Promise.resolve();
    this.#open.delete(vm);
    for (const told of this.#onClose) told(vm);
    const closed = console?.close();
    return this.#inTurn(vm, async () => {
      await closed;
      // One that was being opened meanwhile.
      const late = this.#open.get(vm);
      this.#open.delete(vm);
      await late?.close();
    });
  }

  async closeAll(): Promise<void> {
    await Promise.all([...this.#open.keys(), ...this.#turns.keys()].map((vm) => this.close(vm)));
  }

  /** Told when a console closes: its VM stopped. */
  onClose(listener: (vm: string) => void): void {
    this.#onClose.add(listener);
  }

  /** Whether its VM runs, as far as consoles know. */
  async isOpen(vm: string): Promise<boolean> {
    await this.#turns.get(vm);
    return this.#open.has(vm);
  }

  /**
   * History, then everything as it comes.
   * Errors: vm.blocked when the VM does not run; acl.denied when a reader wants to take over; api.busy.
   */
  async attach(vm: string, ask: Ask, reader: Reader): Promise<Attachment> {
    await this.#turns.get(vm);
    const console = this.#open.get(vm);
    const attachment = await console?.attach(ask, reader);
    if (attachment && this.#open.get(vm) === console) return attachment;
    attachment?.close();
    throw new BrigError('vm.blocked', `attach ${vm}: blocked: it has no console: it is not running`, {
      retry: 'operator',
      hint: `brig start ${vm}`,
    });
  }

  /** The newest bytes up to this moment, of a VM that is stopped too, piece by piece. */
  async *history(vm: string, bytes: number): AsyncGenerator<Buffer> {
    this.#open.get(vm)?.catchUp();
    // One that is closing writes what it has first.
    await this.#turns.get(vm);
    yield* (this.#open.get(vm)?.history ?? this.#o.history(vm)).pieces(bytes);
  }

  sessions(vm?: string): SessionView[] {
    const consoles = vm === undefined ? [...this.#open.values()] : [this.#open.get(vm)];
    return consoles.flatMap((console) => console?.sessions() ?? []);
  }
}
