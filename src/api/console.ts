import type { ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { LIMITS } from '../base/limits.ts';
import type { Ask, Attachment, Reader } from '../engine/console.ts';
import type { Consoles } from '../engine/consoles.ts';
import { sendPieces } from './answer.ts';
import { UPGRADE } from './protocol.ts';
import { switchTo } from './upgrade.ts';

/** A console for whoever was found to be allowed to have it. */
export interface ConsoleCall {
  readonly consoles: Consoles;
  /** The VM. */
  readonly name: string;
  /** The principal's id. */
  readonly who: string;
  readonly mayWrite: boolean;
  readonly how: { readonly steal?: boolean; readonly view?: boolean; readonly replay?: number };
  readonly socket: Duplex;
}

const readerOf = (socket: Duplex): Reader => ({
  take: (chunk) => void socket.write(chunk),
  lagBytes: () => socket.writableLength,
  goOn: () => void socket.resume(),
  end: () => {
    socket.end();
    // What he still types goes nowhere.
    socket.resume();
  },
});

/**
 * Raw bytes both ways: what `hello` makes of the attachment, history, a note, then everything as it comes.
 * Errors: those of Consoles.attach, with nothing written.
 */
export const pipeConsole = async (
  consoles: Consoles,
  vm: string,
  ask: Ask,
  socket: Duplex,
  hello: (attachment: Attachment) => string = () => '',
): Promise<void> => {
  const console = await consoles.attach(vm, ask, readerOf(socket));
  if (socket.destroyed) return console.close();
  socket.on('close', () => console.close());
  socket.on('error', () => socket.destroy());
  // Who ends his side, as `nc -N` does, gets what the guest answers, and goes: he would be the writer for ever.
  socket.on('end', () => setTimeout(() => socket.end(), LIMITS.consoleHalfOpenMs).unref());
  socket.on('drain', () => console.drained());
  socket.write(hello(console));
  socket.write(console.history);
  socket.write(console.note);
  socket.on('data', (chunk: Buffer) => {
    if (!console.write(chunk)) socket.pause();
  });
};

/**
 * Attaches a client: 101, history, then raw bytes both ways.
 * Shape:  the answer says brig-console-mode, brig-console-writer and how much history follows
 * Errors: those of Consoles.attach.
 */
export const attachConsole = ({ consoles, name, who, mayWrite, how, socket }: ConsoleCall): Promise<void> => {
  const ask: Ask = {
    who,
    mayWrite,
    steal: how.steal === true,
    viewOnly: how.view === true,
    replayBytes: Math.min(how.replay ?? LIMITS.consoleReplayBytes, LIMITS.consoleReplayMostBytes),
    via: 'api',
  };
  return pipeConsole(consoles, name, ask, socket, ({ mode, writer, history }) =>
    switchTo(UPGRADE, {
      'brig-console-mode': mode,
      ...(writer === undefined ? {} : { 'brig-console-writer': encodeURIComponent(writer) }),
      'brig-console-history': String(history.length),
    }),
  );
};

/** Sends what is kept, the newest bytes of it, of a VM that is stopped too. */
export const sendHistory = async (
  consoles: Consoles,
  name: string,
  bytes: number,
  response: ServerResponse,
): Promise<void> => {
  const pieces = consoles.history(name, Math.min(bytes, LIMITS.consoleHistoryBytes));
  response.writeHead(200, { 'content-type': 'application/octet-stream' });
  await sendPieces(response, pieces);
};
