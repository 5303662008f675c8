import { describe, expect, test } from 'vitest';
import { checkUse, fillPlaces, hasWholePlaces, namesIn } from '../../../src/base/secret.ts';
import { maskConfig, renderConfig } from '../../../src/freebsd/programs/bhyve.ts';
import { makeSeed } from '../../../src/freebsd/programs/makefs.ts';
import { layout } from '../../../src/platform/layout.ts';
import { seed, seedsOf } from '../../../src/platform/seed.ts';
import { renderEffect } from '../../../src/saga/render.ts';
import { secretsOf } from '../../../src/spec/secret.ts';
import { apply, buildVm, find, qemuOfVm } from '../linux/build.ts';
import { precheck } from '../../../src/linux/checks.ts';
import { buildHost, buildNode, buildSeen } from '../linux/build.ts';

const values = new Map([
  ['a', { value: Buffer.from('{{secret:b}}'), version: 'v1' }],
  ['b', { value: Buffer.from([0xff, 0]), version: 'v2' }],
]);

describe('a text with places for secrets', () => {
  test('gets each value once, to the byte, and what a value says is not looked at', () => {
    expect(fillPlaces('x{{secret:a}}y{{secret:b}}z{{secret:a#}}', values)).toEqual(
      Buffer.concat([Buffer.from('x{{secret:b}}y'), Buffer.from([0xff, 0]), Buffer.from('zv1')]),
    );
  });

  test('keeps the places of others', () => {
    expect(fillPlaces('{{secret:c}} {{ secret:a }} \u20ac', values).toString()).toBe(
      '{{secret:c}} {{ secret:a }} \u20ac',
    );
    expect(namesIn('{{secret:a}}{{secret:a}}{{secret:b#}}{{secret:c.d}}')).toEqual(['a', 'c.d']);
    expect(['{{secret:a}}', '{{secret:A}}', '{{secret:a#}}', '{{secret:a'].map(hasWholePlaces)).toEqual([
      true,
      false,
      false,
      false,
    ]);
  });
});

describe('a document', () => {
  test('refers to secrets of its owner, or to those of the node', () => {
    const document = {
      owner: 'alice',
      cloudInit: { userData: '#cloud-config\npassword: {{secret:pw}}\n', vendorData: 'secret:vendor' },
      devices: { fbuf: { password: 'secret:vnc' } },
    };
    expect(secretsOf(buildVm(document).spec)).toEqual([
      { owner: 'alice', name: 'pw' },
      { owner: 'alice', name: 'vendor' },
      { owner: 'alice', name: 'vnc', use: 'screen' },
    ]);
    expect(secretsOf(buildVm({ ...document, owner: undefined }).spec).map(({ owner }) => owner)).toEqual(['', '', '']);
    // What is no text has no places.
    const base64 = Buffer.from('secret:pw').toString('base64');
    expect(secretsOf(buildVm({ cloudInit: { userData: { base64 } } }).spec)).toEqual([]);
  });

  test.each([
    [
      { devices: { fbuf: { password: 'CANARY' } } },
      /password: expected a reference like secret:NAME, never a password/,
    ],
    [{ devices: { fbuf: { password: 12345678 } } }, /password: expected string, got a number/],
    [{ cloudInit: { userData: 'secret:CANARY' } }, /userData: expected secret:NAME, or a text .*, got another text/],
    [{ cloudInit: { userData: 'x {{secret:CANARY}}' } }, /userData: expected secret:NAME/],
    [{ cloudInit: { vendorData: 'x {{secret:a#}}' } }, /vendorData: expected secret:NAME/],
  ])('%j is refused, and what came is not shown', (document, reason) => {
    let message = '';
    try {
      buildVm(document);
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message).toMatch(reason);
    expect(message).not.toContain('CANARY');
  });
});

describe('a seed', () => {
  const files = layout({ stateDir: '/var/db/brig', runDir: '/run/brig' }).vm('web01');
  const [args] = seedsOf(
    buildVm({ owner: 'alice', cloudInit: { userData: 'secret:pw\n', vendorData: 'a {{secret:v}}' } }),
    files,
    makeSeed,
  );

  test('has places where the values go, and is of another instance when one was set again', () => {
    const texts = Object.fromEntries(args?.files.map(({ name, text }) => [name, text]) ?? []);
    expect(texts['user-data']).toBe('{{secret:pw}}');
    expect(texts['vendor-data']).toBe('a {{secret:v}}');
    expect(texts['meta-data']).toMatch(/web01-[0-9a-f]{16}-\{\{secret:pw#\}\}-\{\{secret:v#\}\}/);
  });

  test('names its secrets in a plan', () => {
    const lines = args ? seed.apply(args).flatMap(renderEffect) : [];
    expect(lines.join('\n')).toContain('user-data # 13 characters, not shown, filled in: secret:pw of alice');
  });
});

describe('a screen with a password', () => {
  const vm = buildVm({ devices: { fbuf: { password: 'secret:vnc' } } });

  test('has a place in what bhyve reads, and an audit sees no value there', () => {
    const config = renderConfig(vm, { dataset: undefined, machine: 'web01' }, false);
    expect(config).toContain('\npci.0.29.0.password={{secret:vnc}}\n');
    const filled = config.replace('{{secret:vnc}}', 'CANARY');
    expect(maskConfig(filled)).toBe(maskConfig(config));
    expect(maskConfig(filled)).not.toContain('CANARY');
  });

  test('has a file for QEMU, and nothing in its arguments', () => {
    expect(qemuOfVm(vm).join(' ')).toContain(
      '-object secret,id=screen,file=/vm/screen.secret -vnc unix:/sock/vnc,password-secret=screen',
    );
    expect(qemuOfVm(buildVm({ devices: { fbuf: {} } })).join(' ')).not.toContain('secret');
    const effects = apply(find(vm, 'run-dir.create'));
    expect(effects).toContainEqual({
      do: 'write',
      path: '/run/brig/vms/web01/vm/screen.secret',
      text: '{{secret:vnc}}',
      access: { mode: 0o600, uid: 20_001, gid: 20_001 },
      secrets: [{ owner: '', name: 'vnc', use: 'screen' }],
    });
  });

  test('is refused before anything is touched where QEMU takes none from a file', async () => {
    const { host } = buildHost({ '/run/brig': '' });
    const node = buildNode({ readsPasswords: false });
    const found = (await precheck(host, node, buildSeen(), vm)).map(({ what }) => what);
    expect(found).toContain('a QEMU that reads the password of devices.fbuf from a file (-vnc password-secret)');
  });

  test.each([
    ['', 'other characters'],
    ['123456789', 'more than 8, and VNC would heed no more'],
    ['a b', 'other characters'],
    ['a%b', 'other characters'],
    ['a\nb=c', 'other characters'],
    ['p\u00e4ss', 'other characters'],
  ])('may not be %j', (password, got) => {
    const ref = { owner: 'alice', name: 'vnc', use: 'screen' } as const;
    expect(() => checkUse(ref, Buffer.from(password))).toThrow(
      `use secret:vnc of alice for VNC: expected a password of 1 to 8 printable ASCII characters other than blank and %, got ${got}`,
    );
    expect(() => checkUse(ref, Buffer.from('a=b,c"#\\'))).not.toThrow();
    expect(() => checkUse({ owner: '', name: 'x' }, Buffer.from(password))).not.toThrow();
  });
});
