import { expect, test } from 'vitest';
import { tellTenants } from '../tenants.ts';

if (process.getuid?.() === 0) tellTenants({ accel: 'tcg' });
else test('sockets of other users need root', () => expect(process.getuid?.(), 'run the tests as root').toBe(0));
