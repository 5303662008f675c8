import { request as httpRequest, type IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { BrigError } from '../base/errors.ts';
import { encodeFrame, type Frame } from './frames.ts';

export const explainConnect = (socket: string, error: NodeJS.ErrnoException): BrigError => {
  if (error.code === 'EACCES' || error.code === 'EPERM')
    return new BrigError('host.denied', `connect ${socket}: permission denied`, { hint: 'be root' });
  const reason = error.code === 'ENOENT' || error.code === 'ECONNREFUSED' ? 'brigd is not running' : error.message;
  return new BrigError('daemon.unreachable', `connect ${socket}: ${reason}`, {
    hint: 'service brigd start, or brigd in the foreground',
  });
};

/** For the other side to clean up. */
const PATIENCE_MS = 5_000;

const cancelled = (signal: AbortSignal | undefined): Promise<never> =>
  new Promise((_, reject) => {
    const cancel = (): void => reject(signal?.reason instanceof Error ? signal.reason : new Error('cancelled'));
    if (signal?.aborted) cancel();
    else signal?.addEventListener('abort', cancel, { once: true });
  });

/**
 * Sends frames for as long as nobody answers: an answer before the end is one that needs no more.
 * Errors: those of the frames and of the signal, after which the other side hears of no end; daemon.unreachable.
 */
export const upload = async (
  socketPath: string,
  path: string,
  frames: AsyncIterable<Frame>,
  signal?: AbortSignal,
): Promise<IncomingMessage> => {
  const request = httpRequest({ socketPath, method: 'POST', path, headers: { host: 'brigd' }, agent: false });
  let response: IncomingMessage | undefined;
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    request.on('response', (came) => resolve((response = came)));
    request.on('error', (error) => reject(explainConnect(socketPath, error)));
  });
  const drained = (): Promise<void> => new Promise((resolve) => request.once('drain', () => resolve()));
  const send = async (): Promise<IncomingMessage> => {
    for await (const frame of frames) {
      // A frame that was waited for when the request was given up is nobody's.
      if (response || request.destroyed || request.writableEnded) break;
      for (const bytes of encodeFrame(frame)) if (!request.write(bytes)) await Promise.race([drained(), answered]);
    }
    request.end();
    return await answered;
  };
  try {
    return await Promise.race([send(), cancelled(signal)]);
  } catch (error) {
    // What is left of it is gone when the other side has answered.
    if (!request.writableEnded) {
      for (const bytes of encodeFrame({ end: 'nothing' })) request.write(bytes);
      request.end();
    }
    await Promise.race([answered.catch(() => undefined), sleep(PATIENCE_MS, undefined, { ref: false })]);
    request.destroy();
    throw error;
  }
};
