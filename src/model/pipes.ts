import type { FifoNode } from './world.ts';

/** What a pipe holds; what comes after that is lost, as bhyve does not wait. Source: fifo(4), PIPE_SIZE. */
const CAPACITY_BYTES = 65_536;

const drain = (fifo: FifoNode): void => {
  const reader = fifo.readers[0];
  if (!reader) return;
  const chunks = fifo.pending;
  fifo.pending = [];
  fifo.pendingBytes = 0;
  for (const chunk of chunks) reader(chunk);
};

/** Readers get it once the writer is done with what it does. */
export const writeFifo = (fifo: FifoNode, chunk: Buffer): void => {
  if (fifo.pendingBytes + chunk.length > CAPACITY_BYTES) return;
  fifo.pending.push(chunk);
  fifo.pendingBytes += chunk.length;
  queueMicrotask(() => drain(fifo));
};

/** The longest reader gets everything, also what waited for it; the answer ends the reading. */
export const readFifo = (fifo: FifoNode, reader: (chunk: Buffer) => void): (() => void) => {
  fifo.readers.push(reader);
  queueMicrotask(() => drain(fifo));
  return () => {
    const at = fifo.readers.indexOf(reader);
    if (at >= 0) fifo.readers.splice(at, 1);
  };
};

/** What is in it now, whoever reads. */
export const emptyFifo = (fifo: FifoNode): Buffer => {
  const chunks = fifo.pending;
  fifo.pending = [];
  fifo.pendingBytes = 0;
  return Buffer.concat(chunks);
};
