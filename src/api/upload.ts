import type { IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { encodeFrame, type Frame } from './frames.ts';
import type { Transport } from './transport.ts';

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
  transport: Transport,
  path: string,
  frames: AsyncIterable<Frame>,
  signal?: AbortSignal,
): Promise<IncomingMessage> => {
  await transport.prepare();
  const request = await transport.open({ method: 'POST', path, headers: { 'transfer-encoding': 'chunked' } });
  let response: IncomingMessage | undefined;
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    request.on('response', (came) => resolve((response = came)));
    request.on('error', (error) => reject(transport.explain(error)));
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
