import type { Principal } from '../acl/principal.ts';
import type { AccessKeyView, Keys } from '../engine/keys.ts';
import { parseKeyDocument } from '../spec/key.ts';

/** What a client tells of a key. */
export interface KeyRequest {
  /** Shape: `ed25519 BASE64` */
  readonly public: string;
  readonly owner?: string;
  readonly expiresMs?: number;
}

/** `GET /access/keys`: those that a caller may see are all, or his own. */
export const listKeys = (keys: Keys, owner?: string): AccessKeyView[] =>
  keys.list().filter((key) => owner === undefined || key.owner === owner);

/** `PUT /access/keys/NAME`; without an owner it is the caller's. Errors: acl.invalid, acl.denied, key.exists. */
export const putKey = (keys: Keys, name: string, body: unknown, caller: Principal): AccessKeyView => {
  const document = parseKeyDocument(body, `key ${name}`);
  const owner = document.owner ?? caller.owner;
  return keys.add(name, { ...document, ...(owner === undefined ? {} : { owner }) }, caller.id);
};

/** `DELETE /access/keys/NAME`; NAME may be its fingerprint. Errors: key.unknown. */
export const revokeKey = (keys: Keys, name: string): AccessKeyView => keys.revoke(name);
