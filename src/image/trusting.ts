import { fingerprintOf } from '../acl/keys.ts';
import { readTrust, revokeKey, trustKey, type TrustedKey } from '../acl/trust.ts';
import { BrigError } from '../base/errors.ts';
import type { KeyView, Trusting } from '../platform/images.ts';

const toView = ({ bytes, name, rights }: TrustedKey): KeyView => ({ id: fingerprintOf(bytes), name, rights });

/** The keys of a node's directory, as the API shows them. */
export const trustIn = (dir: string): Trusting => ({
  list: async (host) => (await readTrust(host, dir)).keys.map(toView),
  add: async (host, name, line) => {
    if (typeof line !== 'string')
      throw new BrigError('acl.invalid', 'trust key: expected the text of its file, got another');
    return toView(await trustKey(host, dir, name, line));
  },
  revoke: async (host, name) => toView(await revokeKey(host, dir, name)),
});
