import { request as httpRequest, type IncomingMessage } from 'node:http';
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

/**
 * Sends frames for as long as nobody answers: an answer before the end is one that needs no more.
 * Errors: those of the frames, after which the other side hears of no end; daemon.unreachable.
 */
export const upload = async (
  socketPath: string,
  path: string,
  frames: AsyncIterable<Frame>,
): Promise<IncomingMessage> => {
  const request = httpRequest({ socketPath, method: 'POST', path, headers: { host: 'brigd' }, agent: false });
  let response: IncomingMessage | undefined;
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    request.on('response', (came) => resolve((response = came)));
    request.on('error', (error) => reject(explainConnect(socketPath, error)));
  });
  // Told where it is awaited.
  answered.catch(() => undefined);
  const room = (): Promise<unknown> =>
    Promise.race([new Promise<void>((resolve) => request.once('drain', () => resolve())), answered]);
  try {
    for await (const frame of frames) {
      for (const bytes of encodeFrame(frame)) if (!request.write(bytes)) await room();
      if (response) break;
    }
    request.end();
    return await answered;
  } catch (error) {
    request.destroy();
    throw error;
  }
};
