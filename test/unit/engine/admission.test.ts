import { expect, test } from 'vitest';
import type { Principal } from '../../../src/acl/principal.ts';
import { admit, type Admission } from '../../../src/engine/admission.ts';
import { parseVmDocument } from '../../../src/spec/vm.ts';

const laptop: Principal = { id: 'key:laptop', isRoot: false, subjects: ['key:laptop'], from: '192.0.2.1' };
const document = (more: object = {}) => parseVmDocument({ name: 'web', ...more });

/** Everything but to administer. */
const admission = {
  access: { can: () => false, check: () => ({ allow: true, rule: '' }), checkVm: () => ({ allow: true, rule: '' }) },
  imageOf: () => Promise.resolve('debian:12'),
  checkNetwork: () => undefined,
} as unknown as Admission;

test('a key of nobody makes no VM: it would have the secrets of the node, and no quota', async () => {
  await expect(admit(admission, laptop, document())).rejects.toMatchObject({ code: 'acl.denied' });
  await expect(admit(admission, { ...laptop, owner: 'ann' }, document())).resolves.toEqual({ owner: 'ann' });
});

test('the image that was looked at is told, for another may come before it is used', async () => {
  const asked = admit(admission, { ...laptop, owner: 'ann' }, document({ image: 'debian' }));
  await expect(asked).resolves.toEqual({ owner: 'ann', image: 'debian:12' });
});
