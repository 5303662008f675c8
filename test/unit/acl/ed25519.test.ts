import nacl from 'tweetnacl';
import { describe, expect, test } from 'vitest';
import { parseSigner, signerOf, verifierOf } from '../../../src/acl/ed25519.ts';
import { fingerprintOf, isSignedBy, parseSecretKey, renderSecretKey } from '../../../src/acl/keys.ts';
import { renderBase } from '../../../src/acl/signatures.ts';

const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'));

/** RFC 8032, section 7.1, tests 1 to 3: seed, public half, message, signature. */
const VECTORS = [
  [
    '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
    'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
    '',
    'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
  ],
  [
    '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
    '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
    '72',
    '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
  ],
  [
    'c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7',
    'fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025',
    'af82',
    '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a',
  ],
] as const;

describe('Ed25519 of OpenSSL', () => {
  test.each(VECTORS)('answers as RFC 8032 and as tweetnacl: seed %s', (seed, publicHex, message, signature) => {
    const signer = signerOf(hex(seed));
    expect(Buffer.from(signer.publicBytes).toString('hex')).toBe(publicHex);
    expect(Buffer.from(signer.sign(hex(message))).toString('hex')).toBe(signature);
    expect(verifierOf(signer.publicBytes).verify(hex(message), hex(signature))).toBe(true);
    expect(nacl.sign.keyPair.fromSeed(hex(seed)).publicKey).toEqual(signer.publicBytes);
  });

  test('answers as tweetnacl to random messages, whole and with a bit turned', () => {
    for (let i = 0; i < 8; i++) {
      const seed = nacl.randomBytes(32);
      const [signer, other] = [signerOf(seed), parseSecretKey(renderSecretKey(seed), 'k')];
      const message = nacl.randomBytes(i * 37);
      const signature = signer.sign(message);
      expect(Buffer.from(signature).toString('base64')).toBe(other.sign(message));
      expect([signer.id, signer.publicBytes]).toEqual([other.id, other.publicBytes]);
      const at = i % 64;
      const turned = signature.map((byte, j) => (j === at ? byte ^ (1 << (i % 8)) : byte));
      for (const each of [signature, turned]) {
        const expected = isSignedBy(signer.publicBytes, message, Buffer.from(each).toString('base64'));
        expect(verifierOf(signer.publicBytes).verify(message, each)).toBe(expected);
      }
    }
  });

  test('takes a signature in one spelling: no order of the group is added', () => {
    const signer = signerOf(hex(VECTORS[0][0]));
    const signature = signer.sign(new Uint8Array());
    const order = 2n ** 252n + 27742317777372353535851937790883648493n;
    const s = [...signature.slice(32)].reduceRight((sum, byte) => sum * 256n + BigInt(byte), 0n) + order;
    const bytes = Array.from({ length: 32 }, (_, i) => Number((s >> BigInt(8 * i)) & 255n));
    const malleable = new Uint8Array([...signature.slice(0, 32), ...bytes]);
    expect(verifierOf(signer.publicBytes).verify(new Uint8Array(), malleable)).toBe(false);
  });
});

test('a signature base is that of RFC 9421, section B.2.6', () => {
  const params =
    '("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"';
  const base = renderBase(
    [
      ['date', 'Tue, 20 Apr 2021 02:07:55 GMT'],
      ['@method', 'POST'],
      ['@path', '/foo'],
      ['@authority', 'example.com'],
      ['content-type', 'application/json'],
      ['content-length', '18'],
    ],
    params,
  );
  const signature = 'wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==';
  const publicBytes = new Uint8Array(Buffer.from('JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=', 'base64'));
  expect(verifierOf(publicBytes).verify(Buffer.from(base), Buffer.from(signature, 'base64'))).toBe(true);
  const seed = new Uint8Array(Buffer.from('n4Ni+HpISpVObnQMW0wOhCKROaIKqKtW/2ZYb2p9KcU=', 'base64'));
  expect(Buffer.from(signerOf(seed).sign(Buffer.from(base))).toString('base64')).toBe(signature);
});

test('a signer comes from a secret key’s file, and its id is the fingerprint of its public half', () => {
  const parsed = parseSigner(renderSecretKey(hex(VECTORS[0][0])), 'k');
  expect(parsed.id).toBe(fingerprintOf(hex(VECTORS[0][1])));
  expect(() => parseSigner('ed25519-secret AAAA', '/k')).toThrow('read /k: not a key: expected one line');
});
