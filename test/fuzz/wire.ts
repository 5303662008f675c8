import { connect } from 'node:net';

/** What came back for one request, as far as it came. */
export interface Answered {
  /** 0: the connection ended without a word. */
  readonly status: number;
  readonly head: string;
  readonly body: string;
  /** An answer that goes on, or one of another protocol, or nothing at all in its time. */
  readonly end: 'whole' | 'closed' | 'goes on' | 'hangs';
}

const LATE_MS = 10_000;
const GOES_ON_MS = 150;

const lengthOf = (head: string): number | undefined => {
  const [, length] = /^content-length: *(\d+)/im.exec(head) ?? [];
  return length === undefined ? undefined : Number(length);
};

const bodyOf = (head: string, rest: string): { body: string; isWhole: boolean } => {
  const [, status = '0'] = /^HTTP\/1\.1 (\d{3})/.exec(head) ?? [];
  if (status === '304' || status === '204') return { body: '', isWhole: true };
  const length = lengthOf(head);
  if (length !== undefined) return { body: rest.slice(0, length), isWhole: rest.length >= length };
  if (!/^transfer-encoding: *chunked/im.test(head)) return { body: rest, isWhole: false };
  let [body, at] = ['', 0];
  for (;;) {
    const line = rest.indexOf('\r\n', at);
    const size = line < 0 ? NaN : Number.parseInt(rest.slice(at, line), 16);
    if (Number.isNaN(size) || rest.length < line + 2 + size) return { body, isWhole: false };
    if (size === 0) return { body, isWhole: true };
    body += rest.slice(line + 2, line + 2 + size);
    at = line + 4 + size;
  }
};

/** Sends bytes as they are, and reads one answer. `isHalf`: nothing more comes, and the other side is told. */
export const exchange = (path: string, bytes: Buffer, isHalf: boolean): Promise<Answered> =>
  new Promise((resolve) => {
    const socket = connect({ path, allowHalfOpen: true });
    let text = '';
    const settle = (end: Answered['end']): void => {
      clearTimeout(late);
      const at = text.indexOf('\r\n\r\n');
      const head = at < 0 ? text : text.slice(0, at);
      const rest = at < 0 ? '' : text.slice(at + 4);
      const [, status = '0'] = /^HTTP\/1\.1 (\d{3})/.exec(head) ?? [];
      socket.destroy();
      resolve({ status: Number(status), head, body: bodyOf(head, rest).body, end });
    };
    const late = setTimeout(() => settle('hangs'), LATE_MS);
    let soon: NodeJS.Timeout | undefined;
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      if (text.startsWith('HTTP/1.1 100 ')) text = text.slice(text.indexOf('\r\n\r\n') + 4);
      const at = text.indexOf('\r\n\r\n');
      if (at < 0) return;
      if (bodyOf(text.slice(0, at), text.slice(at + 4)).isWhole) return settle('whole');
      clearTimeout(soon);
      soon = setTimeout(() => settle('goes on'), GOES_ON_MS);
    });
    socket.on('end', () => settle('closed'));
    socket.on('close', () => {
      clearTimeout(soon);
      settle('closed');
    });
    socket.write(bytes);
    if (isHalf) socket.end();
  });
