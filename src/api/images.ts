import type { IncomingMessage, ServerResponse } from 'node:http';
import { BrigError, toErrorBody } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { Inbox } from '../base/inbox.ts';
import type { Images, Incoming, Piece } from '../platform/images.ts';
import { write } from './answer.ts';
import { decodeFrames, encodeFrame, type Frame } from './frames.ts';
import { httpStatus } from './protocol.ts';

type Frames = AsyncGenerator<Frame>;

const wrong = (expected: string): BrigError =>
  new BrigError('api.invalid', `read image: expected ${expected}, got another frame`);

const nextFrame = async (frames: Frames, expected: string): Promise<Frame> => {
  const next = await frames.next();
  if (next.done) throw wrong(expected);
  return next.value;
};

/** Pieces up to the end of their disk. */
const piecesOf = async function* (first: Frame, frames: Frames): AsyncGenerator<Piece> {
  for (let frame = first; ; frame = await nextFrame(frames, 'the end of a disk')) {
    if ('data' in frame || 'zeros' in frame) yield frame;
    else if ('end' in frame && frame.end === 'disk') return;
    else throw wrong('a piece of a disk');
  }
};

/** An offer, its disks, and what its sender says at the end. */
const toIncoming = async (frames: Frames): Promise<Incoming> => {
  const first = await nextFrame(frames, 'an offer');
  if (!('json' in first)) throw wrong('an offer');
  let last: unknown;
  return {
    offer: first.json,
    disks: async function* () {
      for (;;) {
        const frame = await nextFrame(frames, 'a disk');
        if ('json' in frame) {
          last = frame.json;
          return;
        }
        yield piecesOf(frame, frames);
      }
    },
    end: async () => {
      const frame = await nextFrame(frames, 'the end');
      if (!('end' in frame && frame.end === 'all')) throw wrong('the end');
      const { sha256 } = (last ?? {}) as { sha256?: unknown };
      return typeof sha256 === 'string' ? { sha256 } : {};
    },
  };
};

/** What is left of a request that is answered already: who still sends would not hear the answer otherwise. */
const drain = async (inbox: Inbox): Promise<void> => {
  try {
    const rest = inbox.rest();
    while (!(await rest.next()).done);
  } catch {
    // Its sender is gone.
  }
};

/** Takes an image in; who goes away before its end has brought nothing. */
export const takeImage = async (
  images: Images,
  host: Host,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> => {
  const inbox = new Inbox(request);
  const gone = new AbortController();
  request.once('close', () => {
    if (!request.complete) gone.abort(new BrigError('saga.cancelled', 'import image: its sender went away'));
  });
  const answer = (status: number, body: unknown): void => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.write(`${JSON.stringify(body)}\n`);
  };
  try {
    answer(200, await images.take(host, await toIncoming(decodeFrames(inbox)), gone.signal));
  } catch (error) {
    const body = toErrorBody(error);
    answer(httpStatus(body), { error: body });
  }
  await drain(inbox);
  response.end();
};

const send = async (response: ServerResponse, frame: Frame): Promise<void> => {
  for (const bytes of encodeFrame(frame)) await write(response, bytes);
};

/** A disk as it was signed; what is wrong comes as the last frame. */
export const sendDisk = async (pieces: AsyncIterable<Piece>, response: ServerResponse): Promise<void> => {
  response.writeHead(200, { 'content-type': 'application/octet-stream' });
  try {
    for await (const piece of pieces) {
      if (response.closed) return;
      await send(response, piece);
    }
    await send(response, { end: 'all' });
  } catch (error) {
    await send(response, { json: { error: toErrorBody(error) } });
  }
  response.end();
};
