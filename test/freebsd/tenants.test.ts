import { expect, test } from 'vitest';
import { isFreebsd } from '../demo/stage.ts';
import { tellTenants } from '../tenants.ts';

if (isFreebsd && process.getuid?.() === 0) tellTenants();
else
  test('tenants need FreeBSD and root', () =>
    expect([isFreebsd, process.getuid?.()], 'run this on FreeBSD as root').toEqual([true, 0]));
