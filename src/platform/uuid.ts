import { createHash } from 'node:crypto';

/** A name-based UUID: the guest's identity stays when it moves to another slot or node. Source: RFC 9562 version 5. */
export const uuidOf = (name: string): string => {
  const hash = createHash('sha256').update(`brig:vm/${name}`).digest().subarray(0, 16);
  hash[6] = ((hash[6] ?? 0) & 0x0f) | 0x50;
  hash[8] = ((hash[8] ?? 0) & 0x3f) | 0x80;
  return hash.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
};
