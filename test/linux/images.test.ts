import { spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:https';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { inventory, leftovers, run, Stage } from '../demo/stage.ts';

const MIB = 2 ** 20;
const STATE_BYTES = 96 * MIB;
const stage = new Stage('images', { accel: 'tcg' });
const before = inventory();
const file = (name: string): string => join(stage.dir, name);
const images = (): string[] => {
  const at = file('state/images');
  return existsSync(at)
    ? [...readdirSync(at).filter((name) => name !== 'disks'), ...readdirSync(join(at, 'disks'))]
    : [];
};
const sha256 = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');
const must = (program: string, ...args: string[]): string => {
  const { status, stdout, stderr } = run(program, args);
  expect([program, status, stderr]).toEqual([program, 0, expect.any(String)]);
  return stdout;
};
const ok = (...args: string[]): string => {
  const { status, stdout, stderr } = stage.brig(...args);
  expect([status, stderr.replaceAll(/^(create|start|destroy).*\n/gm, '')], `brig ${args.join(' ')}`).toEqual([0, '']);
  return stdout;
};
interface View {
  readonly name: string;
  readonly version: string;
  readonly digest: string;
  readonly verified: string;
  readonly source: string;
}
const list = (): View[] => stage.json<View[]>('image', 'list');

/** 64 MiB, most of it a hole. */
const makeDisk = (path: string): void => {
  writeFileSync(path, randomBytes(3 * MIB));
  truncateSync(path, 64 * MIB - 512);
};

beforeAll(async () => {
  mkdirSync(file('state'), { mode: 0o711 });
  must('/usr/bin/mount', '-t', 'tmpfs', '-o', `size=${STATE_BYTES},mode=711`, 'brig-images', file('state'));
  makeDisk(file('disk'));
  await stage.up();
});

afterAll(async () => {
  await stage.down();
  run('/usr/bin/umount', ['-l', file('state')]);
  await stage.close();
  expect(leftovers(before, inventory())).toEqual([]);
});

describe('an image', () => {
  test('comes in as a raw disk, stays sparse, and comes out as the same archive each time', () => {
    ok(
      'image',
      'import',
      file('disk'),
      '--sha256',
      sha256(file('disk')),
      '--name',
      'raw',
      '--version',
      '1',
      '--firmware',
      'test',
    );
    expect(list()).toMatchObject([{ name: 'raw', verified: 'sha256', source: 'disk' }]);
    const { digest } = list()[0] as View;
    const { size, blocks } = statSync(file(`state/images/disks/${digest}/disk0.raw`));
    expect([size, blocks * 512 < 8 * MIB]).toEqual([64 * MIB - 512, true]);
    ok('image', 'export', 'raw:1', file('a.tar.zst'));
    ok('image', 'export', 'raw', file('b.tar.zst'));
    expect(sha256(file('a.tar.zst'))).toBe(sha256(file('b.tar.zst')));
    expect(stage.json('image', 'verify', 'raw')).toMatchObject({ ok: true });
  });

  test('is what a VM begins with, in the time of an overlay, and is kept as long as the VM is', () => {
    ok('create', 'one', '--image', 'raw', '--memory', '64M', '--disk', '1G');
    ok('start', 'one');
    const refused = stage.brig('image', 'rm', 'raw');
    expect([refused.status, refused.stderr]).toEqual([75, expect.stringContaining('1 VM was made of it')]);
    ok('destroy', '--force', 'one');
    ok('image', 'rm', 'raw');
    expect(images()).toEqual([]);
  });

  test('comes in as an archive, from a file, from stdin and from a directory; others refuse it', () => {
    ok('image', 'import', file('a.tar.zst'));
    const [first] = list();
    ok('image', 'rm', 'raw');
    mkdirSync(file('unpacked'), { recursive: true });
    must('/usr/bin/tar', '--zstd', '-C', file('unpacked'), '-xf', file('a.tar.zst'));
    ok('image', 'import', file('unpacked'));
    expect(list()[0]?.digest).toBe(first?.digest);
    ok('image', 'rm', 'raw');
    const piped = spawnSync(process.execPath, [...stage.command, 'image', 'import', '-'], {
      input: readFileSync(file('a.tar.zst')),
    });
    expect([piped.status, piped.stderr.toString()]).toEqual([0, '']);
    expect(list()[0]?.digest).toBe(first?.digest);
    ok('image', 'rm', 'raw');
  });

  test.each([
    ['gz', ['/usr/bin/gzip', '-kf']],
    ['xz', ['/usr/bin/xz', '-0kf']],
    ['zst', ['/usr/bin/zstd', '-qkf']],
    ['bz2', ['/usr/bin/bzip2', '-1kf']],
  ] as const)('comes in as a disk in .%s', (suffix, [program, ...args]) => {
    must(program, ...args, file('disk'));
    ok('image', 'import', file(`disk.${suffix}`), '--insecure', '--name', 'raw', '--version', suffix);
    expect(
      stage.json<{ manifest: { disks: { sha256: string }[] } }>('image', 'show', 'raw').manifest.disks[0]?.sha256,
    ).toBe(sha256(file('disk')));
    expect(list()).toMatchObject([{ verified: 'none' }]);
    expect(ok('image', 'list')).toContain('INSECURE');
    ok('image', 'rm', 'raw');
  });

  test.each(['qcow2', 'vmdk', 'vpc', 'vhdx'])('comes in as %s', (format) => {
    const options = format === 'vpc' ? ['-o', 'force_size'] : [];
    must('/usr/bin/qemu-img', 'convert', '-O', format, ...options, file('disk'), file(`disk.${format}`));
    ok('image', 'import', file(`disk.${format}`), '--insecure', '--name', 'raw', '--version', format);
    must('/usr/bin/qemu-img', 'convert', '-O', 'raw', '-f', format, file(`disk.${format}`), file('again'));
    expect(
      stage.json<{ manifest: { disks: { sha256: string }[] } }>('image', 'show', 'raw').manifest.disks[0]?.sha256,
    ).toBe(sha256(file('again')));
    ok('image', 'rm', 'raw');
  });
});

describe('refused, and nothing is left', () => {
  const refused = (status: number, text: string, ...args: string[]): void => {
    const ran = stage.brig('image', 'import', ...args);
    expect([ran.status, ran.stderr]).toEqual([status, expect.stringContaining(text)]);
    expect(ran.stderr.trim().split('\n')).toHaveLength(1);
    expect(images()).toEqual([]);
  };
  const named = ['--name', 'x', '--version', '1'];

  test('a disk that nobody vouches for, or that is another', () => {
    refused(64, 'expected --sha256 or --insecure', file('disk'), ...named);
    refused(64, 'expected --name and --version', file('disk'), '--insecure');
    refused(65, 'expected sha-256 00000000', file('disk'), ...named, '--sha256', '0'.repeat(64));
    refused(64, '64 hexadecimal digits', file('disk'), ...named, '--sha256', 'abc');
    refused(65, 'ENOENT', file('nothing'), ...named, '--insecure');
    refused(65, 'expected an unpacked archive', stage.dir, ...named, '--insecure');
    writeFileSync(file('empty'), '');
    refused(65, 'it is empty', file('empty'), ...named, '--insecure');
  });

  test('what needs another file, which the guest would see', () => {
    must('/usr/bin/qemu-img', 'create', '-q', '-f', 'qcow2', '-b', '/etc/passwd', '-F', 'raw', file('thief.qcow2'));
    refused(65, 'this qcow2 needs another file', file('thief.qcow2'), ...named, '--insecure');
    must(
      '/usr/bin/qemu-img',
      'create',
      '-q',
      '-f',
      'qcow2',
      '-o',
      `data_file=${file('data')},data_file_raw=on`,
      file('thief2.qcow2'),
      '1M',
    );
    refused(65, 'this qcow2 needs another file', file('thief2.qcow2'), ...named, '--insecure');
    writeFileSync(
      file('thief.vmdk'),
      '# Disk DescriptorFile\nversion=1\nCID=ffffffff\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 8 FLAT "/etc/passwd" 0\n',
    );
    refused(65, 'this vmdk needs another file', file('thief.vmdk'), ...named, '--insecure');
  });

  test('what is damaged, or larger than it may be', () => {
    const xz = readFileSync(file('disk.xz'));
    writeFileSync(file('cut.xz'), xz.subarray(0, Math.floor(xz.length / 2)));
    refused(65, 'xz', file('cut.xz'), ...named, '--insecure');
    const zst = readFileSync(file('disk.zst'));
    const middle = Math.floor(zst.length / 2);
    zst.fill(0x55, middle, middle + 64);
    writeFileSync(file('bent.zst'), zst);
    refused(65, 'zstd', file('bent.zst'), ...named, '--insecure');
    refused(
      65,
      'expected a disk of at most 1048576 bytes',
      file('disk.xz'),
      ...named,
      '--insecure',
      '--max-size',
      '1M',
    );
    refused(
      65,
      'expected a disk of at most 1048576 bytes',
      file('disk.qcow2'),
      ...named,
      '--insecure',
      '--max-size',
      '1M',
    );
    for (const format of ['qcow2', 'vmdk', 'vpc', 'vhdx']) {
      copyFileSync(file(`disk.${format}`), file(`bent.${format}`));
      truncateSync(file(`bent.${format}`), Math.floor(statSync(file(`disk.${format}`)).size / 2));
      refused(65, format === 'vpc' ? 'cut short' : 'qemu-img', file(`bent.${format}`), ...named, '--insecure');
    }
  });

  test('an archive with a byte changed, at any place', () => {
    const tar = spawnSync('/usr/bin/zstd', ['-dcq', file('a.tar.zst')], { maxBuffer: 2 ** 28 }).stdout;
    for (const [at, reason] of [
      [600, ''],
      [5_000, 'is not the one that was signed'],
      [3 * MIB, 'is not the one that was signed'],
      [60 * MIB, 'is not the one that was signed'],
    ] as const) {
      const bent = Buffer.from(tar);
      bent[at] = (bent[at] ?? 0) ^ 1;
      writeFileSync(file('bent.tar'), bent);
      refused(65, reason, file('bent.tar'));
    }
    writeFileSync(file('bent.tar'), tar.subarray(0, 40 * MIB));
    refused(65, 'it is cut short', file('bent.tar'));
  });

  test('a disk for which the file system has no room, wherever that shows', () => {
    writeFileSync(file('large'), randomBytes(STATE_BYTES + MIB));
    refused(71, 'ENOSPC', file('large'), ...named, '--insecure');
    for (const left of [1, 3, 5, 9].map((mib) => mib * MIB + 12_345)) {
      writeFileSync(file('state/fill'), Buffer.alloc(freeBytes() - left));
      const { status } = stage.brig('image', 'import', file('a.tar.zst'));
      rmSync(file('state/fill'));
      if (status === 0) ok('image', 'rm', 'raw');
      else expect(images()).toEqual([]);
    }
    ok('list');
  });

  const freeBytes = (): number =>
    1024 * Number(must('/usr/bin/df', '-k', '--output=avail', file('state')).trim().split('\n').at(-1));

  test.each(['SIGINT', 'SIGKILL'] as const)('one whose sender ends by %s', async (signal) => {
    must('/usr/bin/mkfifo', file(`fifo-${signal}`));
    const child = spawn(process.execPath, [
      ...stage.command,
      'image',
      'import',
      file(`fifo-${signal}`),
      ...named,
      '--insecure',
    ]);
    const feeder = spawn('/bin/sh', [
      '-c',
      `exec 3>"$1"; cat "$2" >&3; sleep 60`,
      'sh',
      file(`fifo-${signal}`),
      file('disk'),
    ]);
    await stage.until('half an image', () => images().some((name) => name.startsWith('new-')));
    const ended = new Promise<number | null>((resolve) => child.once('close', (status) => resolve(status)));
    child.kill(signal);
    expect(await ended).toBe(signal === 'SIGINT' ? 130 : null);
    feeder.kill();
    await stage.until('nothing of it', () => images().length === 0, 5_000);
  });

  test('one whose brigd is killed', async () => {
    must('/usr/bin/mkfifo', file('fifo'));
    const child = spawn(process.execPath, [...stage.command, 'image', 'import', file('fifo'), ...named, '--insecure'], {
      stdio: 'ignore',
    });
    const feeder = spawn('/bin/sh', ['-c', `exec 3>"$1"; cat "$2" >&3; sleep 60`, 'sh', file('fifo'), file('disk')]);
    await stage.until('half an image', () => images().some((name) => name.startsWith('new-')));
    await stage.down('SIGKILL');
    child.kill('SIGKILL');
    feeder.kill();
    await stage.up();
    expect(images()).toEqual([]);
  });
});

const TOKEN = 'ghp_canary0123456789';

describe('from https', () => {
  let servers: Server[];
  let [url, other] = ['', ''];
  let requests: (string | undefined)[] = [];
  let shown: (string | undefined)[] = [];
  /** Bytes after which the connection breaks, once each. */
  let breaks: number[] = [];

  beforeAll(async () => {
    const asked = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost';
    const names = ['-addext', 'subjectAltName=DNS:localhost', '-keyout', file('key.pem'), '-out', file('cert.pem')];
    must('/usr/bin/openssl', ...asked.split(' '), ...names);
    const data = readFileSync(file('a.tar.zst'));
    servers = [0, 1].map(() =>
      createServer(
        { key: readFileSync(file('key.pem')), cert: readFileSync(file('cert.pem')) },
        (request, response) => {
          requests.push(request.headers.range);
          shown.push(request.headers.authorization);
          if (request.url === '/closed/a.tar.zst' && request.headers.authorization !== `Bearer ${TOKEN}`)
            return response.writeHead(401).end();
          if (request.url === '/elsewhere') return response.writeHead(302, { location: `${other}/nothing` }).end();
          if (request.url === '/away') return response.writeHead(302, { location: 'http://localhost:1/' }).end();
          if (!request.url?.endsWith('/a.tar.zst')) return response.writeHead(404).end();
          const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
          response.writeHead(from > 0 ? 206 : 200, { etag: '"one"', 'content-length': data.length - from });
          const end = breaks.shift();
          response.write(data.subarray(from, end), () =>
            end === undefined ? response.end() : setTimeout(() => request.destroy(), 50),
          );
        },
      ),
    );
    const listen = async (server: Server): Promise<string> => {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
      const address = server.address();
      return `https://localhost:${typeof address === 'object' ? address?.port : 0}`;
    };
    [url = '', other = ''] = await Promise.all(servers.map(listen));
  });
  afterAll(() => servers.forEach((server) => server.close()));

  const brig = async (...args: string[]): Promise<{ status: number | null; stderr: string }> => {
    const env = { ...process.env, NODE_EXTRA_CA_CERTS: file('cert.pem') };
    const child = spawn(process.execPath, [...stage.command, 'image', 'import', ...args], { env });
    let stderr = '';
    child.stderr.on('data', (text: Buffer) => (stderr += text.toString()));
    return await new Promise((resolve) => child.once('close', (status) => resolve({ status, stderr })));
  };

  test('goes on where the connection broke', async () => {
    requests = [];
    breaks = [1_000_000, 2_000_000];
    expect(await brig(`${url}/a.tar.zst`)).toEqual({ status: 0, stderr: '' });
    expect(requests).toEqual([undefined, 'bytes=1000000-', 'bytes=2000000-']);
    ok('image', 'rm', 'raw');
  });

  test('shows a server the token that is a secret here, and no other', async () => {
    writeFileSync(file('token'), TOKEN);
    ok('secret', 'set', 'registry', '--file', file('token'));
    const closed = `${url}/closed/a.tar.zst`;
    expect(await brig(closed)).toEqual({ status: 71, stderr: expect.stringContaining('answered 401') as string });
    [requests, breaks, shown] = [[], [1_000_000], []];
    expect(await brig(closed, '--token', 'secret:registry')).toEqual({ status: 0, stderr: '' });
    expect(shown).toEqual([`Bearer ${TOKEN}`, `Bearer ${TOKEN}`]);
    shown = [];
    const { stderr } = await brig(`${url}/elsewhere`, '--token', 'secret:registry', '--insecure');
    expect([shown, stderr]).toEqual([[`Bearer ${TOKEN}`, undefined], expect.not.stringContaining(TOKEN)]);
    for (const [from, given, reason] of [
      [closed, TOKEN, 'expected --token secret:NAME, got something else'],
      [closed, 'secret:other', 'no such secret'],
      [file('a.tar.zst'), 'secret:registry', 'expected an https URL with --token'],
    ] as const)
      expect((await brig(from, '--token', given)).stderr).toContain(reason);
    expect(ok('audit-log').match(/POST \/secrets\/\{secret\}\/open/g)?.length).toBeGreaterThanOrEqual(4);
    expect(must('/bin/grep', '-rl', TOKEN, stage.dir)).toBe(`${file('token')}\n`);
    ok('image', 'rm', 'raw');
  });

  test('is told what is wrong in one line', async () => {
    const cases: [string, string][] = [
      [`${url}/nothing`, 'the server answered 404'],
      [`${url}/away`, 'fetch'],
      ['https://localhost:4/x', 'ECONNREFUSED'],
      ['http://localhost/x', 'expected an https URL'],
      ['ftp://localhost/x', 'expected an https URL'],
    ];
    for (const [from, reason] of cases) {
      const { status, stderr } = await brig(from, '--insecure', '--name', 'x', '--version', '1');
      expect([status, stderr]).toEqual([71, expect.stringContaining(reason)]);
      expect(stderr.trim().split('\n')).toHaveLength(1);
    }
    expect(images()).toEqual([]);
  });
});
