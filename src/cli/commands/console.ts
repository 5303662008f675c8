import type { Duplex } from 'node:stream';
import { nameOf, type CliCommand } from '../command.ts';

/** What is left of the input after `~.` at the start of a line was looked for. */
export class Escape {
  #atLineStart = true;
  #tilde = false;

  /** Bytes to send, and whether to detach. `~~` sends one tilde. */
  feed(chunk: Buffer): { send: Buffer; detach: boolean } {
    const out: number[] = [];
    for (const byte of chunk) {
      if (this.#tilde) {
        this.#tilde = false;
        if (byte === 0x2e) return { send: Buffer.from(out), detach: true };
        if (byte !== 0x7e) out.push(0x7e);
      } else if (byte === 0x7e && this.#atLineStart) {
        this.#tilde = true;
        continue;
      }
      out.push(byte);
      this.#atLineStart = byte === 0x0d || byte === 0x0a;
    }
    return { send: Buffer.from(out), detach: false };
  }
}

/** A script's input has an end: what the guest answers is waited for this long. */
const QUIET_MS = 800;

/** Passes bytes both ways until the console closes, `~.` comes, or a script's input ends and the guest is quiet. */
const connect = (console: Duplex, name: string): Promise<string> =>
  new Promise((resolve) => {
    const escape = new Escape();
    let quiet: NodeJS.Timeout | undefined;
    const arm = (): void => {
      clearTimeout(quiet);
      quiet = setTimeout(() => resolve(''), QUIET_MS);
    };
    console.on('data', (chunk: Buffer) => {
      process.stdout.write(chunk);
      if (quiet) arm();
    });
    console.on('close', () => resolve(`console of ${name} closed\n`));
    console.on('error', () => resolve(`console of ${name} lost: brigd went away\n`));
    process.stdin.on('data', (chunk: Buffer) => {
      const { send, detach } = escape.feed(chunk);
      if (send.length > 0) console.write(send);
      if (detach) resolve(`\ndetached from ${name}\n`);
    });
    process.stdin.on('end', arm);
  });

export const consoleCommand: CliCommand = {
  usage: 'brig console NAME',
  summary: 'attach to the serial console; ~. at the start of a line detaches',
  options: {},
  operands: [1, 1],
  complete: ['vm'],
  examples: ['brig console web01'],
  run: async (call) => {
    const name = nameOf(call);
    const console = await call.client.console(name);
    const terminal = process.stdin.isTTY;
    if (terminal) {
      process.stderr.write(`attached to ${name}; ~. detaches\n`);
      process.stdin.setRawMode(true);
    }
    const said = await connect(console, name);
    if (terminal) process.stdin.setRawMode(false);
    console.destroy();
    process.stdin.pause();
    process.stdin.unref();
    process.stderr.write(said);
  },
};
