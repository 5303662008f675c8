import { BrigError } from '../base/errors.ts';
import { Inbox, Rooms } from '../base/inbox.ts';
import { IMAGE } from '../base/limits.ts';
import type { Piece } from '../platform/images.ts';

/**
 * Disks on the wire, one after the other.
 * Shape:  a byte of kind, four of length (little-endian), then as many bytes: D of data; J of JSON. Z has no bytes after
 *         it: its length counts zeros. E ends a disk, C all of it, X gives it up; their
 *         lengths are 0.
 */
export type Frame = Piece | { readonly end: 'disk' | 'all' | 'nothing' } | { readonly json: unknown };

const HEADER_BYTES = 5;
/** Zeros that fit a length, in whole chunks. */
const MOST_ZEROS = 1023 * IMAGE.chunkBytes;

const header = (kind: string, length: number): Buffer => {
  const bytes = Buffer.alloc(HEADER_BYTES);
  bytes.write(kind, 'latin1');
  bytes.writeUInt32LE(length, 1);
  return bytes;
};

const ENDS = { disk: 'E', all: 'C', nothing: 'X' } as const;

export const encodeFrame = (frame: Frame): Buffer[] => {
  if ('data' in frame) return [header('D', frame.data.length), frame.data];
  if ('end' in frame) return [header(ENDS[frame.end], 0)];
  if ('json' in frame) {
    const text = Buffer.from(JSON.stringify(frame.json));
    return [header('J', text.length), text];
  }
  const frames: Buffer[] = [];
  for (let left = frame.zeros; left > 0; left -= MOST_ZEROS) frames.push(header('Z', Math.min(left, MOST_ZEROS)));
  return frames;
};

/** Frames that their receiver, a queue or two and the next one have at once. */
const IN_HANDS = 6;

const wrong = (expected: string, got: string): BrigError =>
  new BrigError('api.invalid', `read disks: expected ${expected}, got ${got}`);

const exactly = async (inbox: Inbox, buffer: Buffer): Promise<Buffer> => {
  const got = await inbox.takeInto(buffer);
  if (got < buffer.length) throw wrong(`${buffer.length} bytes`, `the end after ${got}`);
  return buffer;
};

const toFrame = async (inbox: Inbox, kind: string, length: number, rooms: Rooms): Promise<Frame> => {
  if (kind === 'E' || kind === 'C') return { end: kind === 'E' ? 'disk' : 'all' };
  if (kind === 'X') throw new BrigError('saga.cancelled', 'import image: its sender gave it up');
  if (kind === 'Z') return { zeros: length };
  const most = kind === 'J' ? 2 * IMAGE.manifestBytes : IMAGE.chunkBytes;
  if ((kind !== 'D' && kind !== 'J') || length > most)
    throw wrong('a frame', `kind ${JSON.stringify(kind)}, ${length} bytes`);
  const data = await exactly(inbox, kind === 'D' ? rooms.next(length) : Buffer.alloc(length));
  if (kind === 'D') return { data };
  try {
    return { json: JSON.parse(data.toString('utf8')) as unknown };
  } catch {
    throw wrong('JSON', 'something else');
  }
};

/**
 * The data of a frame is the receiver's until IN_HANDS more have come.
 * Errors: api.invalid for whatever is no frame, and when the sender goes away before the last one.
 */
export const decodeFrames = async function* (inbox: Inbox): AsyncGenerator<Frame> {
  const rooms = new Rooms(IMAGE.chunkBytes, IN_HANDS);
  for (;;) {
    const head = await exactly(inbox, Buffer.alloc(HEADER_BYTES));
    const frame = await toFrame(inbox, head.toString('latin1', 0, 1), head.readUInt32LE(1), rooms);
    yield frame;
    if ('end' in frame && frame.end === 'all') return;
  }
};
