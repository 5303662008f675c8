import type { ConsolePort, Host } from '../base/host.ts';
import { BrigError } from '../base/errors.ts';

/** Bounded history of one console. */
export interface History {
  append(chunk: Buffer): void;
  tail(bytes: number): Promise<Buffer>;
}

type Reader = (chunk: Buffer) => void;

interface Open {
  readonly port: ConsolePort;
  readonly history: History;
  readonly readers: Set<{ read: Reader; end: () => void }>;
}

/** What a person attaches to. */
export interface Attachment {
  readonly history: Buffer;
  write(chunk: Buffer): void;
  close(): void;
}

export interface ConsoleOptions {
  readonly host: Host;
  readonly paths: (vm: string) => { readonly conIn: string; readonly conOut: string };
  readonly history: (vm: string) => History;
  /** Bytes of history that a reader gets first. */
  readonly replayBytes: number;
}

/** The serial consoles of all running VMs: read always, so that no guest waits; kept, bounded; fanned out. */
export class Consoles {
  readonly #o: ConsoleOptions;
  readonly #open = new Map<string, Open>();

  constructor(options: ConsoleOptions) {
    this.#o = options;
  }

  /** Errors: host.missing when the FIFOs are not there. */
  async open(vm: string): Promise<void> {
    if (this.#open.has(vm)) return;
    const { conIn, conOut } = this.#o.paths(vm);
    const port = await this.#o.host.console(conIn, conOut);
    const console: Open = { port, history: this.#o.history(vm), readers: new Set() };
    this.#open.set(vm, console);
    port.onData((chunk) => {
      console.history.append(chunk);
      for (const reader of console.readers) reader.read(chunk);
    });
    port.onClose(() => this.close(vm));
  }

  close(vm: string): void {
    const console = this.#open.get(vm);
    if (!console) return;
    this.#open.delete(vm);
    console.port.close();
    for (const reader of console.readers) reader.end();
  }

  closeAll(): void {
    for (const vm of [...this.#open.keys()]) this.close(vm);
  }

  /** History, then everything as it comes. Errors: vm.blocked when the VM does not run. */
  async attach(vm: string, read: Reader, end: () => void): Promise<Attachment> {
    const console = this.#open.get(vm);
    if (!console)
      throw new BrigError('vm.blocked', `attach ${vm}: blocked: it has no console: it is not running`, {
        retry: 'operator',
        hint: `brig start ${vm}`,
      });
    const history = await console.history.tail(this.#o.replayBytes);
    const reader = { read, end };
    console.readers.add(reader);
    return {
      history,
      write: (chunk) => console.port.write(chunk),
      close: () => void console.readers.delete(reader),
    };
  }
}
