import { describe, expect, test } from 'vitest';
import { Authenticator, StartUnknown, type KnownKey } from '../../../src/acl/authenticator.ts';
import { signerOf, verifierOf } from '../../../src/acl/ed25519.ts';
import { Nonces } from '../../../src/acl/nonces.ts';
import { digestOf, renderBase, signRequest, type Head, type ToSign } from '../../../src/acl/signatures.ts';
import { BrigError, messageOf } from '../../../src/base/errors.ts';

const NODE = 'a'.repeat(64);
const T = 1_800_000_000_000;
const signer = signerOf(new Uint8Array(32).fill(1));
const stranger = signerOf(new Uint8Array(32).fill(2));

const rawOf = (headers: Readonly<Record<string, string>>): string[] => Object.entries(headers).flat();

const ask: ToSign = {
  method: 'PUT',
  target: '/v1/vms/web01?force=1',
  headers: {
    host: 'node.example:7480',
    'brig-node': NODE,
    'content-type': 'application/json',
    'content-length': '2',
    'idempotency-key': 'once',
    'if-match': '"3"',
    upgrade: 'brig-console',
  },
  body: Buffer.from('{}'),
};

let nonces = 0;
const sign = (what: Partial<ToSign> = {}, nowMs = T, by = signer): Record<string, string> =>
  signRequest({ ...ask, ...what }, by, nowMs, Buffer.alloc(18, ++nonces));
const headOf = (headers: Record<string, string>, what: Partial<Head> = {}): Head => ({
  method: ask.method,
  target: ask.target,
  rawHeaders: rawOf(headers),
  ...what,
});

/** A node whose brigd started long ago, with one key. */
const node = (key: Partial<KnownKey> = {}, nonceStore?: Nonces) => {
  let nowMs = T - 3_600_000;
  const known: KnownKey = {
    ...verifierOf(signer.publicBytes),
    ...{ name: 'laptop', owner: 'alice', expiresMs: undefined, revokedMs: undefined },
    ...key,
  };
  const authenticator = new Authenticator({
    find: (id) => (id === signer.id ? known : undefined),
    now: () => nowMs,
    ...(nonceStore ? { nonces: nonceStore } : {}),
  });
  nowMs = T;
  return {
    admit: (head: Head) => authenticator.admit(head, NODE, '192.0.2.1'),
    set: (ms: number) => (nowMs = ms),
  };
};

const refusal = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    if (!(error instanceof BrigError)) return `not a refusal: ${messageOf(error)}`;
    expect(error.code).toBe('acl.denied');
    expect(error.details).toMatchObject({ authenticate: true });
    expect(error.message).not.toContain('\n');
    return error.message;
  }
  return 'admitted';
};

describe('a signed request', () => {
  test('is its key, with the rights of its owner, from where it came', () => {
    expect(node().admit(headOf(sign()))).toEqual({
      principal: {
        id: 'key:laptop',
        isRoot: false,
        subjects: ['key:laptop', 'user:alice'],
        owner: 'alice',
        from: '192.0.2.1',
      },
      digest: digestOf(Buffer.from('{}')),
    });
  });

  test('of a key without an owner has that key alone', () => {
    expect(node({ owner: undefined }).admit(headOf(sign())).principal).toEqual({
      ...{ id: 'key:laptop', isRoot: false, subjects: ['key:laptop'], from: '192.0.2.1' },
    });
  });

  test.each([
    ['method', {}, { method: 'DELETE' }],
    ['path', {}, { target: '/v1/vms/web02?force=1' }],
    ['query', {}, { target: '/v1/vms/web01?force=0' }],
    ['query that is gone', {}, { target: '/v1/vms/web01' }],
    ['spelling of the path', {}, { target: '/v1/vms/web0%31?force=1' }],
    ['host', { host: 'other.example:7480' }, {}],
    ['port', { host: 'node.example:7481' }, {}],
    ['type', { 'content-type': 'text/plain' }, {}],
    ['digest', { 'content-digest': `sha-256=:${digestOf(Buffer.from('[]'))}:` }, {}],
    ['idempotency key', { 'idempotency-key': 'twice' }, {}],
    ['condition', { 'if-match': '"4"' }, {}],
    ['upgrade', { upgrade: 'websocket' }, {}],
  ])('whose %s is another is refused', (_, headers, what) => {
    const signed = sign();
    expect(refusal(() => node().admit(headOf({ ...signed, ...headers }, what)))).toContain('expected what key');
    expect(refusal(() => node().admit(headOf(signed)))).toBe('admitted');
  });

  test.each(['created=1800000001', 'nonce="AAAAAAAAAAAAAAAAAAAAAAAA"'])(
    'whose parameter becomes %s is refused',
    (to) => {
      const signed = sign();
      const input = (signed['signature-input'] ?? '').replace(new RegExp(`${to.split('=')[0]}=("[^"]*"|\\d+)`), to);
      expect(refusal(() => node().admit(headOf({ ...signed, 'signature-input': input })))).toContain(
        'expected what key',
      );
    },
  );

  test.each(['content-type', 'idempotency-key', 'if-match', 'if-none-match', 'last-event-id', 'transfer-encoding'])(
    'with %s that nobody signed is refused',
    (name) => {
      const headers = Object.fromEntries(Object.entries(ask.headers).filter(([each]) => each !== name));
      const signed = sign({ headers });
      expect(refusal(() => node().admit(headOf({ ...signed, [name]: 'chunked' })))).toContain(
        `expected ${name} among what is signed`,
      );
    },
  );

  test('with a body that nobody signed is refused', () => {
    const signed = sign({ body: undefined });
    expect(refusal(() => node().admit(headOf(signed)))).toContain('expected content-digest of the body');
    const chunked = sign({
      headers: { host: 'n', 'brig-node': NODE, 'transfer-encoding': 'chunked' },
      body: undefined,
    });
    expect(refusal(() => node().admit(headOf(chunked)))).toContain('expected content-digest of the body');
  });

  test('may have an unsigned body on the one route of uploads alone', () => {
    const headers = { host: 'n', 'brig-node': NODE, 'transfer-encoding': 'chunked' };
    for (const [method, target, answer] of [
      ['POST', '/v1/images', 'admitted'],
      ['PUT', '/v1/images', 'content-digest'],
      ['POST', '/v1/images?', 'content-digest'],
      ['POST', '/v1/images/', 'content-digest'],
      ['POST', '/v1//images', 'content-digest'],
      ['POST', '/v1/images/gc', 'content-digest'],
    ] as const) {
      const signed = sign({ method, target, headers, body: undefined });
      expect(
        refusal(() => node().admit(headOf(signed, { method, target }))),
        target,
      ).toContain(answer);
    }
    const sized = { host: 'n', 'brig-node': NODE, 'content-length': '5' };
    const upload = { method: 'POST', target: '/v1/images' };
    const signed = sign({ ...upload, headers: sized, body: undefined });
    expect(refusal(() => node().admit(headOf(signed, upload)))).toContain('content-digest');
  });

  test('for another node is refused, though both know the key', () => {
    const signed = sign({ headers: { ...ask.headers, 'brig-node': 'b'.repeat(64) } });
    expect(refusal(() => node().admit(headOf(signed)))).toContain('for another');
    expect(refusal(() => node().admit(headOf({ ...signed, 'brig-node': NODE })))).toContain('expected what key');
  });

  test('with another key, or one that nobody knows, is refused', () => {
    const signed = sign({}, T, stranger);
    expect(refusal(() => node().admit(headOf(signed)))).toContain(`no key ${stranger.id} here`);
    const posed = Object.fromEntries(
      Object.entries(signed).map(([name, value]) => [name, value.replace(stranger.id, signer.id)]),
    );
    expect(refusal(() => node().admit(headOf(posed)))).toContain('expected what key');
  });

  test('of a key that was revoked or has expired is refused, and only who has the key learns why', () => {
    expect(refusal(() => node({ revokedMs: T - 1 }).admit(headOf(sign())))).toContain('key laptop was revoked');
    expect(refusal(() => node({ expiresMs: T }).admit(headOf(sign())))).toContain('key laptop has expired');
    expect(refusal(() => node({ expiresMs: T + 1 }).admit(headOf(sign())))).toBe('admitted');
    const forged = { ...sign(), signature: `brig=:${Buffer.alloc(64).toString('base64')}:` };
    expect(refusal(() => node({ revokedMs: T - 1 }).admit(headOf(forged)))).toContain('expected what key');
  });

  test('is not taken again, by whatever label', () => {
    const [here, signed] = [node(), sign()];
    expect(refusal(() => here.admit(headOf(signed)))).toBe('admitted');
    expect(refusal(() => here.admit(headOf(signed)))).toContain('expected a nonce that was not used');
    const relabelled = Object.fromEntries(
      Object.entries(signed).map(([name, value]) => [name, value.replace(/^brig=/, 'x=')]),
    );
    expect(refusal(() => here.admit(headOf(relabelled)))).toContain('expected a nonce that was not used');
    here.set(T + 59_000);
    expect(refusal(() => here.admit(headOf(signed)))).toContain('expected a nonce that was not used');
  });

  test('of a clock that differs by more than a minute is refused, and says by how much', () => {
    for (const [ms, answer] of [
      [60_000, 'admitted'],
      [-60_000, 'admitted'],
      [61_000, 'got one 61 s ahead'],
      [-90_000, 'got one 90 s behind'],
      [-10 * 86_400_000, 'got one 864000 s behind'],
    ] as const)
      expect(refusal(() => node().admit(headOf(sign({}, T + ms))))).toContain(answer);
  });

  test('that ended earlier by its own word is refused', () => {
    const withExpiry = (seconds: number): Record<string, string> => {
      const input = `("@method" "@target-uri" "brig-node");created=${T / 1000};expires=${seconds};nonce="${'n'.repeat(22)}";keyid="${signer.id}";alg="ed25519";tag="brig"`;
      const base = renderBase(
        [
          ['@method', 'GET'],
          ['@target-uri', 'https://n/v1/vms'],
          ['brig-node', NODE],
        ],
        input,
      );
      const signature = Buffer.from(signer.sign(Buffer.from(base))).toString('base64');
      return { host: 'n', 'brig-node': NODE, 'signature-input': `s=${input}`, signature: `s=:${signature}:` };
    };
    const what = { method: 'GET', target: '/v1/vms' };
    expect(refusal(() => node().admit(headOf(withExpiry(T / 1000 + 1), what)))).toBe('admitted');
    expect(refusal(() => node().admit(headOf(withExpiry(T / 1000), what)))).toContain('ended 0 s ago');
  });
});

describe('what is not of the profile is refused', () => {
  const input = sign()['signature-input'] ?? '';
  const changed = (pattern: RegExp | string, to: string): Record<string, string> => ({
    ...sign(),
    'signature-input': input.replace(pattern, to),
  });

  test.each<[string, Record<string, string>, string]>([
    ['no signature', { ...sign(), signature: '' }, 'got none with signature'],
    ['no input', { ...sign(), 'signature-input': '' }, 'got none with signature-input'],
    ['no method', changed('"@method" ', ''), 'expected @method among'],
    ['no target', changed(' "@target-uri"', ''), 'expected @target-uri among'],
    ['no node', changed(' "brig-node"', ''), 'expected brig-node among'],
    ['no digest', changed(' "content-digest"', ''), 'expected content-digest among'],
    ['a component twice', changed('"@method"', '"@method" "@method"'), 'expected no @method among'],
    ['a component too many', changed('"@method"', '"@method" "date"'), 'expected no date among'],
    ['a component with parameters', changed('"@method"', '"@method";req'), 'another shape'],
    ['an unknown algorithm', changed('"ed25519"', '"rsa-v1_5-sha256"'), 'expected parameter alg'],
    ['no algorithm', changed(';alg="ed25519"', ''), 'expected parameter alg'],
    ['another tag', changed('tag="brig"', 'tag="other"'), 'expected parameter tag'],
    ['no tag', changed(';tag="brig"', ''), 'expected parameter tag'],
    ['no time', changed(/;created=\d+/, ''), 'expected parameter created'],
    ['a time of text', changed(/created=\d+/, 'created="1800000000"'), 'each once'],
    ['a time twice', changed(/;created=\d+/, ';created=1800000000;created=1800000000'), 'each once'],
    ['an unknown parameter', changed(';tag', ';more="x";tag'), 'each once'],
    ['no nonce', changed(/;nonce="[^"]*"/, ''), 'expected parameter nonce'],
    ['a short nonce', changed(/nonce="[^"]*"/, 'nonce="abc"'), 'expected parameter nonce'],
    ['another key id', changed(/keyid="[^"]*"/, 'keyid="../etc"'), 'expected parameter keyid'],
    ['two signatures', { ...sign(), 'signature-input': `${input}, ${input.replace('brig=', 'b=')}` }, 'another shape'],
    ['two values', { ...sign(), signature: `${sign().signature}, ${sign().signature}` }, 'another shape'],
    ['labels that differ', { ...sign(), signature: (sign().signature ?? '').replace('brig', 'b') }, 'another shape'],
    ['a long input', changed(';tag', `;tag="${'x'.repeat(2000)}";tag`), 'another shape'],
    ['blanks', changed('" "', '"  "'), 'another shape'],
    ['a digest of another kind', { ...sign(), 'content-digest': 'md5=:AAAA:' }, 'sha-256 alone'],
    ['a host that is a path', { ...sign(), host: 'node.example/v1' }, 'another Host'],
    ['a host in upper case', { ...sign(), host: 'NODE.example:7480' }, 'another Host'],
    ['no host', { ...sign(), host: '' }, 'got none with host'],
    ['text that is not plain', { ...sign(), 'if-match': '\u00e9' }, 'printable'],
  ])('%s', (_, headers, reason) => {
    expect(refusal(() => node().admit(headOf(headers)))).toContain(reason);
  });

  test.each(['http://node.example/v1/vms', '*', 'v1/vms', '/v1/vms#x', '/v1/v\u00e9', '/v1 /vms'])(
    'target %j',
    (target) => {
      expect(refusal(() => node().admit(headOf(sign(), { target })))).toContain('another target');
    },
  );

  test.each(['Signature', 'Signature-Input', 'Content-Digest', 'Host', 'Content-Length', 'X-Anything'])(
    'a second %s',
    (name) => {
      const rawHeaders = [...rawOf({ ...sign(), 'x-anything': '1' }), name, 'more'];
      expect(refusal(() => node().admit({ ...ask, rawHeaders }))).toContain(`got ${name.toLowerCase()} twice`);
    },
  );
});

describe('a brigd that has just started', () => {
  const fresh = (startMs: number) => {
    const known: KnownKey = {
      ...verifierOf(signer.publicBytes),
      ...{ name: 'laptop', owner: undefined, expiresMs: undefined, revokedMs: undefined },
    };
    let nowMs = startMs;
    const authenticator = new Authenticator({ find: () => known, now: () => nowMs });
    return { admit: (head: Head) => authenticator.admit(head, NODE, '-'), set: (ms: number) => (nowMs = ms) };
  };
  const wordOf = (work: () => unknown): string => {
    try {
      work();
    } catch (error) {
      if (error instanceof StartUnknown) return error.start;
    }
    return 'none';
  };

  test('takes nothing that an earlier one may have taken, a fast clock or not', () => {
    for (const skewMs of [-50_000, 0, 59_000]) {
      const [signed, earlier] = [sign({}, T + skewMs), node()];
      earlier.admit(headOf(signed));
      expect(refusal(() => fresh(T + 1).admit(headOf(signed)))).toContain('has just started');
    }
  });

  test('takes what was signed with its own word, at once, and once', () => {
    const here = fresh(T);
    const start = wordOf(() => here.admit(headOf(sign())));
    const signed = sign({ headers: { ...ask.headers, 'brig-start': start } });
    expect(refusal(() => here.admit(headOf(signed)))).toBe('admitted');
    expect(refusal(() => here.admit(headOf(signed)))).toContain('expected a nonce');
    expect(wordOf(() => fresh(T).admit(headOf(signed)))).toMatch(/^[\w-]{22}$/);
    expect(wordOf(() => fresh(T - 3_600_000).admit(headOf(signed)))).not.toBe(start);
  });

  test('asks nobody for its word after a minute', () => {
    const here = fresh(T);
    here.set(T + 61_000);
    expect(refusal(() => here.admit(headOf(sign({}, T + 61_000))))).toBe('admitted');
    expect(refusal(() => here.admit(headOf(sign({}, T + 60_000))))).toContain('has just started');
  });
});

describe('nonces', () => {
  const bounds = { windowMs: 60_000, perKey: 3, all: 5 };
  const use = (nonces: Nonces, key: string, nonce: string, nowMs = T): string => {
    try {
      return String(nonces.use(key, nonce, nowMs, nowMs));
    } catch (error) {
      return error instanceof BrigError ? error.code : 'bug';
    }
  };

  test('are refused when there is no room, of one key and of all, and none is forgotten early', () => {
    const all = new Nonces(bounds);
    expect(['1', '2', '3', '4'].map((nonce) => use(all, 'a', nonce))).toEqual(['true', 'true', 'true', 'api.busy']);
    expect(['1', '2', '3'].map((nonce) => use(all, 'b', nonce))).toEqual(['true', 'true', 'api.busy']);
    expect(use(all, 'a', '1', T + 119_999)).toBe('false');
    expect(use(all, 'b', '3', T + 120_000)).toBe('true');
  });

  test('of a key are the key’s alone', () => {
    const all = new Nonces(bounds);
    expect([use(all, 'a', '1'), use(all, 'b', '1'), use(all, 'a', '1')]).toEqual(['true', 'true', 'false']);
  });

  test('that were forgotten are refused by their time when a clock is set back', () => {
    const here = node();
    const old = sign();
    here.admit(headOf(old));
    here.set(T + 130_000);
    here.admit(headOf(sign({}, T + 130_000)));
    here.set(T);
    expect(refusal(() => here.admit(headOf(old)))).toContain('newer than what was forgotten');
  });

  test('of those whose signature is wrong are not remembered', () => {
    const here = node({}, new Nonces({ ...bounds, perKey: 1 }));
    const bad = { ...sign(), signature: `brig=:${Buffer.alloc(64).toString('base64')}:` };
    for (let i = 0; i < 3; i++) expect(refusal(() => here.admit(headOf(bad)))).toContain('expected what key');
    expect(refusal(() => here.admit(headOf(sign())))).toBe('admitted');
  });
});
