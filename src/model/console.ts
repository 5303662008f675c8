import type { ConsolePort } from '../base/host.ts';
import { BrigError } from '../base/errors.ts';
import { find } from './files.ts';
import { emptyFifo, readFifo, writeFifo } from './pipes.ts';
import type { Device, FifoNode, World } from './world.ts';

const openFifo = (world: World, path: string): FifoNode => {
  const node = find(world, path);
  if (node?.kind === 'fifo') return node;
  throw new BrigError('host.missing', `open console ${path}: ${node ? 'not a FIFO' : 'no such file or directory'}`);
};

/** Both FIFOs of a guest's serial port, each open for reading and writing: it never ends by itself. */
export const openConsole = (world: World, inPath: string, outPath: string): ConsolePort => {
  const output = openFifo(world, outPath);
  const input = openFifo(world, inPath);
  const onClose: (() => void)[] = [];
  const listeners: ((chunk: Buffer) => void)[] = [];
  let endReading: (() => void)[] = [];
  let open = true;
  const pause = (): void => {
    for (const end of endReading) end();
    endReading = [];
  };
  for (const fifo of [input, output]) fifo.holders += 1;
  return {
    onData: (listener) => {
      listeners.push(listener);
      endReading.push(readFifo(output, listener));
    },
    onClose: (listener) => void onClose.push(listener),
    write: (chunk) => {
      if (open) writeFifo(input, chunk);
      return true;
    },
    // A pipe of the model drops what it has no room for.
    onDrain: () => undefined,
    pause,
    resume: () => {
      if (open && endReading.length === 0) endReading = listeners.map((listener) => readFifo(output, listener));
    },
    rest: () => (open ? emptyFifo(output) : Buffer.alloc(0)),
    close: () => {
      if (!open) return;
      open = false;
      for (const fifo of [input, output]) fifo.holders -= 1;
      pause();
      queueMicrotask(() => onClose.forEach((listener) => listener()));
    },
  };
};

/**
 * The host opens its end of a pair that a jail cloned: from then on the pair keeps the jail dying (FACTS S.3).
 * unrecorded: that it takes the host's end; a pair that nobody else opened was gone with its bhyve (bhyve-failures.txt)
 */
const openNmdm = (world: World, path: string, { name, jid }: Device): void => {
  const jail = world.jails.find((each) => each.jid === jid);
  if (!jail || !/^nmdm.+B$/.test(name)) throw new BrigError('host.failed', `write ${path}: not a FIFO`);
  jail.pinned = true;
};

/** Text into a FIFO that somebody holds open; nobody there is success. */
export const sayTo = (world: World, path: string, text: string): void => {
  const node = find(world, path);
  if (node?.kind === 'device') return openNmdm(world, path, node.device);
  if (node && node.kind !== 'fifo') throw new BrigError('host.failed', `write ${path}: not a FIFO`);
  if (node && node.holders > 0) writeFifo(node, Buffer.from(text));
};
