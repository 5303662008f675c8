import { closeSync, constants, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import type { ConsolePort } from '../base/host.ts';
import { BrigError, messageOf } from '../base/errors.ts';

/** Never blocks, never follows a link: nothing but the FIFO that brig made there. */
const openFifo = (path: string, access: number): number => {
  const fd = openSync(path, access | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  if (fstatSync(fd).isFIFO()) return fd;
  closeSync(fd);
  throw new Error('not a FIFO');
};

/** Event-driven: a file stream would hold a thread of the pool for each VM. */
const toSocket = (fd: number, readable: boolean): Socket => new Socket({ fd, readable, writable: !readable });

/** More than a pipe holds. */
const REST_BYTES = 2 ** 20;

/** What is in a FIFO now. */
const restOf = (fd: number): Buffer => {
  const chunks: Buffer[] = [];
  try {
    for (let left = REST_BYTES; left > 0; left -= chunks.at(-1)?.length ?? left) {
      const chunk = Buffer.alloc(Math.min(left, 2 ** 16));
      chunks.push(chunk.subarray(0, readSync(fd, chunk)));
    }
  } catch {
    // EAGAIN: that was all.
  }
  return Buffer.concat(chunks);
};

/** Only for a VM that somebody types at: descriptors are few. One that is gone leads nowhere, as a cable that is cut. */
const openInput = (path: string, onClose: () => void): Socket | undefined => {
  try {
    const input = toSocket(openFifo(path, constants.O_RDWR), false);
    return input.on('error', () => input.destroy()).on('close', onClose);
  } catch {
    return undefined;
  }
};

/** The end that is typed at, opened when somebody does. */
const inputOf = (path: string): Pick<ConsolePort, 'write' | 'onDrain' | 'close'> => {
  const onDrain: (() => void)[] = [];
  const drained = (): void => onDrain.forEach((listener) => listener());
  let input: Socket | undefined;
  const lost = (): void => {
    input = undefined;
    drained();
  };
  return {
    onDrain: (listener) => void onDrain.push(listener),
    write: (chunk) => (input ??= openInput(path, lost)?.on('drain', drained))?.write(chunk) ?? true,
    close: () => input?.destroy(),
  };
};

/**
 * Opens a VM's serial console: its output now, its input when somebody writes.
 * Errors: host.missing when the FIFO of its output is gone.
 */
export const openConsole = (inPath: string, outPath: string): ConsolePort => {
  try {
    // Read and write: the stream does not end between two runs of a guest that resets.
    const fd = openFifo(outPath, constants.O_RDWR);
    const output = toSocket(fd, true);
    output.on('error', () => output.destroy());
    const input = inputOf(inPath);
    return {
      ...input,
      onData: (listener) => void output.on('data', listener),
      onClose: (listener) => void output.on('close', listener),
      pause: () => void output.pause(),
      resume: () => void output.resume(),
      rest: () => {
        if (output.destroyed) return Buffer.alloc(0);
        output.pause();
        // What it has read already comes as data.
        while (output.read() !== null);
        return restOf(fd);
      },
      close: () => {
        input.close();
        output.destroy();
      },
    };
  } catch (error) {
    throw new BrigError('host.missing', `open console ${outPath}: ${messageOf(error)}`, { cause: error });
  }
};

/** Text into a FIFO; nobody reading is success, as with a bell that nobody hears. */
export const say = (path: string, text: string): void => {
  let fd: number;
  try {
    fd = openFifo(path, constants.O_WRONLY);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENXIO' || code === 'ENOENT') return;
    throw new BrigError('host.failed', `write ${path}: ${messageOf(error)}`, { cause: error });
  }
  try {
    writeSync(fd, text);
  } finally {
    closeSync(fd);
  }
};
