import { pino } from 'pino';
import { describe, expect, test } from 'vitest';
import { redact, REDACTED, SECRET_PATHS, toData } from '../../../src/acl/redact.ts';

const CANARY = 'canary-3f9a';

const SECRETS = [
  ...[
    'password',
    'vncPassword',
    'VNC_PASSWORD',
    'passphrase',
    'secret',
    'chapSecret',
    'token',
    'access-token',
    'cookie',
  ],
  ...[
    'Authorization',
    'proxy-authorization',
    'userData',
    'user-data',
    'vendor_data',
    'privateKey',
    'seed',
    'signature',
  ],
];

describe('redact', () => {
  test.each(SECRETS)('hides %s, at any depth', (name) => {
    const value = { a: [{ b: { [name]: CANARY } }], [name]: { more: [CANARY] } };
    expect(JSON.stringify(redact(value))).not.toContain(CANARY);
  });

  test('leaves everything else, and the value itself, as they are', () => {
    const value = { name: 'web', key: 'laptop', seeds: 2, box2: 'x', nics: [{ mac: '02:00:00:00:00:01' }], none: null };
    expect(redact(value)).toEqual(value);
    expect(redact({ password: CANARY })).toEqual({ password: REDACTED });
  });

  test.each([
    `-----BEGIN OPENSSH PRIVATE KEY-----\n${CANARY}`,
    `ed25519-secret ${CANARY}`,
    `Bearer ${CANARY}`,
    Buffer.from(CANARY),
  ])('hides what says of itself that it is secret, and bytes', (value) => {
    expect(JSON.stringify(redact({ note: value, list: [value] }))).not.toContain(CANARY);
  });

  test('ends with what contains itself', () => {
    const value: Record<string, unknown> = { name: 'web' };
    value.self = value;
    expect(JSON.stringify(redact(value))).toContain(REDACTED);
  });
});

test('the record of an entry is numbers and texts, without secrets', () => {
  expect(
    toData({ cpus: 2, name: 'web', none: undefined, disks: [{ password: CANARY, gib: 1 }], token: CANARY }),
  ).toEqual({
    ...{ cpus: 2, name: 'web', disks: `[{"password":"${REDACTED}","gib":1}]`, token: REDACTED },
  });
});

test('the log hides the same by path', () => {
  const lines: string[] = [];
  const log = pino({ redact: [...SECRET_PATHS] }, { write: (line: string) => void lines.push(line) });
  for (const name of ['password', 'secret', 'token', 'userData', 'user-data', 'authorization', 'privateKey', 'seed']) {
    log.info({ [name]: CANARY }, 'flat');
    log.info({ request: { headers: { [name]: CANARY } } }, 'deep');
  }
  expect(lines).toHaveLength(16);
  expect(lines.join('')).not.toContain(CANARY);
});
