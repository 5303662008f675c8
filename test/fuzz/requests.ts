import { chance } from '../soak/chance.ts';
import { NAMES, VALUES, QUERY, KEYS, SCALARS } from './words.ts';

/** A resource of the API. */
export interface Place {
  readonly method: string;
  /** Shape: `/vms/{name}/start` */
  readonly path: string;
  readonly query: readonly string[];
}

/** A request as bytes, and what is said of it when it is answered wrongly. */
export interface Bad {
  readonly bytes: Buffer;
  /** More was promised than is sent. */
  readonly isHalf: boolean;
}

type Pick = (below: number) => number;
const one = <T>(pick: Pick, all: readonly T[]): T => all[pick(all.length)] as T;

const json = (pick: Pick, depth = 0): string => {
  const kind = pick(depth > 3 ? 6 : 10);
  if (kind < 6) return one(pick, SCALARS);
  const items = Array.from({ length: pick(6) }, () => json(pick, depth + 1));
  if (kind < 7) return `[${items.join(',')}]`;
  return `{${items.map((item) => `${JSON.stringify(one(pick, KEYS))}:${item}`).join(',')}}`;
};

/** What may be a document, with something wrong in it. */
const document = (pick: Pick): string => {
  const entries = [
    '"name":"none"',
    '"firmware":{"builtin":"test"}',
    ...Array.from({ length: 1 + pick(5) }, () => `${JSON.stringify(one(pick, KEYS))}:${json(pick, 2)}`),
  ];
  return `{${entries.slice(pick(3)).join(',')}}`;
};

const rule = (pick: Pick): string =>
  `{"principal":${one(pick, SCALARS)},"role":${one(pick, SCALARS)},"object":${one(pick, SCALARS)}}`;

const body = (pick: Pick): Buffer => {
  const kind = pick(16);
  if (kind < 4) return Buffer.alloc(0);
  if (kind < 7) return Buffer.from(document(pick));
  if (kind < 9) return Buffer.from(rule(pick));
  if (kind < 11) return Buffer.from(json(pick));
  if (kind === 11) return Buffer.from(`${'['.repeat(10_000)}${']'.repeat(10_000)}`);
  if (kind === 12) return Buffer.from(`{"name":${'{"a":'.repeat(5_000)}1${'}'.repeat(5_001)}`);
  if (kind === 13) return Buffer.from(`\ufeff${document(pick)}`);
  if (kind === 14) return Buffer.from(Array.from({ length: 40 + pick(200) }, () => pick(256)));
  return one(pick, [
    () => Buffer.alloc(2 ** 20 + 1 + pick(1000), 'a'),
    () => Buffer.from(`[${'1,'.repeat(200_000)}1]`),
    () => Buffer.from(`{${Array.from({ length: 5_000 }, (_, i) => `"k${i}":1`).join(',')}}`),
    () => Buffer.from(document(pick).slice(0, -1 - pick(4))),
    () => Buffer.from([0x44, 0xff, 0xff, 0xff, 0xff, 0x4a, 1, 0, 0, 0, 0x7b]),
    () => Buffer.from('{"name":"none","name":"web","firmware":{"builtin":"test"}}'),
  ])();
};

const HEADERS: readonly ((pick: Pick) => string)[] = [
  (pick) => `If-Match: ${one(pick, ['*', '"x"', '', 'W/"x"', '"a", "b"', '\u00ff', 'x'.repeat(2_000)])}`,
  (pick) => `If-None-Match: ${one(pick, ['*', '"x"', ''])}`,
  (pick) =>
    `Idempotency-Key: ${one(pick, ['a', 'b', '', ' ', '\u00ff', 'k'.repeat(129), '__proto__', "';drop table answers--"])}`,
  (pick) => `Last-Event-ID: ${one(pick, ['1', '-1', '1e9', '999999999999', 'x', '9'.repeat(40)])}`,
  (pick) => `Accept: ${one(pick, ['text/event-stream', '*/*', 'x'.repeat(4_000), ''])}`,
  (pick) =>
    `Content-Type: ${one(pick, ['text/plain', 'application/json; charset=utf-16', 'multipart/form-data; boundary=x', ''])}`,
  (pick) => `Expect: ${one(pick, ['100-continue', '200-ok', ''])}`,
  (pick) =>
    `Connection: upgrade\r\nUpgrade: ${one(pick, ['brig-console', 'brig-vnc', 'websocket', 'WebSocket', 'h2c', 'constructor', 'toString', '__proto__', 'hasOwnProperty', 'x'.repeat(500)])}`,
  (pick) => `Connection: ${one(pick, ['close', 'keep-alive', 'Host', 'x'])}`,
  (pick) => `Host: ${one(pick, ['other', '', 'a'.repeat(300)])}`,
  (pick) => `X-Forwarded-For: ${one(pick, ['root', '127.0.0.1'])}\r\nX-User: root\r\nAuthorization: Basic cm9vdDo=`,
  () => `X-Long: ${'h'.repeat(17_000)}`,
  () => Array.from({ length: 300 }, (_, i) => `X-${i}: y`).join('\r\n'),
  () => 'X Y: z',
  () => ' folded: x',
  () => 'X-Null: a\0b',
  () => 'Signature-Input: sig=()\r\nSignature: sig=:AA==:',
];

const METHODS = [
  'GET',
  'POST',
  'PUT',
  'DELETE',
  'PATCH',
  'HEAD',
  'OPTIONS',
  'TRACE',
  'CONNECT',
  'get',
  'FOO',
  'PROPFIND',
  'M-SEARCH',
  '',
];

const fill = (pick: Pick, path: string): string =>
  path.replaceAll(/\{[^}]*\}/g, () => (pick(2) === 0 ? one(pick, NAMES.slice(0, 10)) : one(pick, NAMES)));

const target = (pick: Pick, { path, query }: Place): string => {
  const filled = `/v1${fill(pick, path)}`;
  const asked = Array.from(
    { length: pick(5) === 0 ? 1 + pick(3) : 0 },
    () => `${one(pick, [...QUERY, ...query, ...query])}=${one(pick, VALUES)}`,
  );
  const right =
    query.length > 0 && pick(2) === 0
      ? query.map(
          (key) => `${key}=${one(pick, ['0', '1', 'start', 'web', '1048576', 'user:daemon', 'view', 'vm:web'])}`,
        )
      : [];
  const all = [...right, ...asked];
  const url = all.length === 0 ? filled : `${filled}?${all.join('&')}`;
  const kind = pick(24);
  if (kind === 0)
    return url.replace(
      '/v1',
      one(pick, ['', '/v2', '/V1', '/v1/', '//v1', '/v1/..', '/v1/%2e%2e/v1', '\\v1', '/./v1']),
    );
  if (kind === 1)
    return `${url}${one(pick, ['/', '//', '#x', '?', '&', '%', '/..', ';x', '/%2e%2e', '\u0001', '?a=1&a=2', '?&&&=', '?%=%', '?__proto__=x'])}`;
  if (kind === 2)
    return one(pick, [
      '*',
      '',
      '/',
      'http://x/v1/vms',
      '//x',
      '/v1',
      '/v1/',
      '?',
      `/${'a/'.repeat(5_000)}`,
      '/v1/vms/\u00e4\u00ff',
    ]);
  return url;
};

const lengthOf = (pick: Pick, bytes: Buffer): { header: string; rest: Buffer; isHalf: boolean } => {
  const kind = pick(60);
  const plain = { header: `Content-Length: ${bytes.length}`, rest: bytes, isHalf: false };
  if (kind === 0) return { ...plain, header: `Content-Length: ${bytes.length + 1 + pick(5000)}`, isHalf: true };
  if (kind === 1)
    return {
      ...plain,
      header: one(pick, [
        'Content-Length: -1',
        'Content-Length: x',
        'Content-Length: 1e3',
        `Content-Length: ${'9'.repeat(30)}`,
      ]),
      isHalf: true,
    };
  if (kind === 2) return { ...plain, header: 'Content-Length: 3\r\nContent-Length: 5', isHalf: true };
  if (kind === 3)
    return {
      header: 'Transfer-Encoding: chunked',
      rest: Buffer.from(
        one(pick, [
          'zz\r\n',
          '5\r\nab',
          'ffffffffffffffff\r\n',
          '-1\r\n',
          '0\r\nX: y\r\n\r\n',
          '1;x=y\r\n{\r\n0\r\n\r\n',
        ]),
      ),
      isHalf: true,
    };
  if (kind === 4)
    return {
      header: `Transfer-Encoding: ${one(pick, ['gzip', 'chunked, gzip', 'xchunked', 'identity'])}`,
      rest: bytes,
      isHalf: true,
    };
  if (kind === 5)
    return { ...plain, header: `Content-Length: ${bytes.length}\r\nTransfer-Encoding: chunked`, isHalf: true };
  const chunk = Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]);
  if (kind === 6)
    return {
      header: 'Transfer-Encoding: chunked',
      rest: Buffer.concat([bytes.length > 0 ? chunk : Buffer.alloc(0), Buffer.from('0\r\n\r\n')]),
      isHalf: false,
    };
  return bytes.length === 0 && kind < 30 ? { ...plain, header: 'X-None: 1' } : plain;
};

/** Requests that are wrong in some way, or in several, or in none: the same for the same seed. */
export const badRequests = function* (places: readonly Place[], seed: number): Generator<Bad> {
  const pick = chance(seed);
  for (;;) {
    const place = one(pick, places);
    const method = pick(12) === 0 ? one(pick, METHODS) : place.method;
    const { header, rest, isHalf } = lengthOf(pick, method === 'GET' && pick(4) > 0 ? Buffer.alloc(0) : body(pick));
    const headers = [
      ...(pick(40) === 0 ? [] : ['Host: brigd']),
      header,
      ...Array.from({ length: pick(4) === 0 ? 1 + pick(2) : 0 }, () => one(pick, HEADERS)(pick)),
    ];
    const version = pick(40) === 0 ? one(pick, ['HTTP/1.0', 'HTTP/2.0', 'HTTP/9', 'HTTQ/1.1', '']) : 'HTTP/1.1';
    const head = `${method} ${target(pick, place)} ${version}\r\n${headers.join('\r\n')}\r\n\r\n`;
    const whole = Buffer.concat([Buffer.from(head, 'latin1'), rest]);
    const isCut = pick(60) === 0;
    yield isCut ? { bytes: whole.subarray(0, pick(whole.length)), isHalf: true } : { bytes: whole, isHalf };
  }
};
