import { spawn, spawnSync } from 'node:child_process';
import { createCipheriv } from 'node:crypto';
import { chmodSync, globSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { encodingsOf, leaks, type Found } from '../canary.ts';
import { inventory, leftovers, Stage } from '../demo/stage.ts';

const LONG = 'canary/correct+horse=battery staple';
const PASSWORD = 'cNry=,#7';
const ALL = [LONG, PASSWORD];
const root = new URL('../../', import.meta.url).pathname;

const before = inventory();
const stage = new Stage('secrets', { accel: 'tcg' });
const file = (name: string): string => join(stage.dir, name);
const said: Found[] = [];

const brig = (args: readonly string[], input = ''): number => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [...stage.command, ...args], {
    input,
    encoding: 'utf8',
  });
  said.push({ where: `brig ${args.slice(0, 2).join(' ')}`, text: stdout + stderr });
  return status ?? 127;
};
const ok = (args: readonly string[], input = ''): void =>
  expect(brig(args, input), `brig ${args.join(' ')}: ${said.at(-1)?.text ?? ''}`).toBe(0);

/** Every file below the directories of brigd, as bytes; who may read it. */
const filesOf = () =>
  globSync('{state,run}/**/*', { cwd: stage.dir })
    .map((path) => ({ path, stat: statSync(file(path), { throwIfNoEntry: false }) }))
    .filter(({ stat }) => stat?.isFile())
    .map(({ path, stat }) => ({
      path,
      access: `${((stat?.mode ?? 0) & 0o777).toString(8)} ${stat?.uid ?? -1}`,
      text: readFileSync(file(path)).toString('latin1'),
    }));
const holders = (): string[] =>
  filesOf()
    .filter(({ text }) => encodingsOf(ALL).some((each) => text.includes(each)))
    .map(({ path, access }) => `${path} ${access}`)
    .sort();

/** What ps(1) and procfs(5) show of every process. */
const processes = (): Found[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) =>
      ['cmdline', 'environ'].map((name) => {
        const where = `/proc/${pid}/${name}`;
        try {
          return { where, text: readFileSync(where).toString('latin1') };
        } catch {
          return { where, text: '' };
        }
      }),
    );

/** VNC's key has its bits the other way round. Source: RFC 6143 7.2.2 */
const answerOf = (challenge: Buffer, password: string): Buffer => {
  const key = Buffer.alloc(8);
  key.set(Buffer.from(password));
  const turned = key.map((byte) => Number.parseInt(byte.toString(2).padStart(8, '0').split('').reverse().join(''), 2));
  // The same key three times: DES alone is in no default provider of OpenSSL 3.
  const cipher = createCipheriv('des-ede3', Buffer.concat([turned, turned, turned]), null).setAutoPadding(false);
  return Buffer.concat([cipher.update(challenge), cipher.final()]);
};

/** Types of security that a screen offers, and whether it takes a password. */
const logIn = (path: string, password: string): Promise<{ offers: number[]; taken: boolean }> =>
  new Promise((resolve, reject) => {
    const socket = connect(path);
    let offers: number[] = [];
    let step = 0;
    socket.on('error', reject);
    socket.on('data', (data: Buffer) => {
      step++;
      if (step === 1) socket.write('RFB 003.008\n');
      else if (step === 2) {
        offers = [...data.subarray(1)];
        socket.write(Buffer.from([2]));
      } else if (step === 3) socket.write(answerOf(data, password));
      else {
        socket.destroy();
        resolve({ offers, taken: data.readUInt32BE(0) === 0 });
      }
    });
  });

const DOCUMENT = {
  name: 'web01',
  owner: 'alice',
  memory: '64M',
  firmware: { builtin: 'test' },
  restart: { policy: 'never' },
  cloudInit: { userData: 'password: {{secret:pw}}\n', vendorData: 'secret:pw' },
  devices: { fbuf: { password: 'secret:vnc' } },
};

beforeAll(async () => {
  await stage.up();
});

afterAll(async () => {
  await stage.close();
  expect(leftovers(before, inventory())).toEqual([]);
});

describe('a real VM', () => {
  test('has its password and its seed, in files of its own, and nobody else has', async () => {
    ok(['secret', 'set', 'pw', '--owner', 'alice'], `${LONG}\n`);
    ok(['secret', 'set', 'vnc', '--owner', 'alice'], `${PASSWORD}\n`);
    writeFileSync(file('web01.json'), JSON.stringify(DOCUMENT));
    ok(['create', '-f', file('web01.json')]);
    ok(['plan', 'start', 'web01']);
    ok(['start', 'web01']);
    const { uid } = await stage.client.show('web01');
    expect(holders()).toEqual([`run/vms/web01/vm/screen.secret 600 ${uid}`, `run/vms/web01/vm/seed.iso 400 ${uid}`]);
    expect(leaks(ALL, processes())).toEqual([]);
    const socket = file('run/vms/web01/sock/vnc');
    await stage.until('the screen', () => statSync(socket, { throwIfNoEntry: false }) !== undefined);
    expect(await logIn(socket, PASSWORD)).toEqual({ offers: [2], taken: true });
    expect(await logIn(socket, 'another')).toEqual({ offers: [2], taken: false });
    for (const args of [['show', 'web01'], ['audit', 'web01'], ['explain', 'web01'], ['list'], ['secret', 'list']])
      for (const more of [[], ['--json']]) ok([...args, ...more]);
  });

  test('asks for it again after the guest has reset', async () => {
    const { pid } = await stage.client.show('web01');
    stage.type('web01', 'r');
    await stage.until('the new process', async () => {
      const view = await stage.client.show('web01');
      return view.state === 'running' && view.pid !== pid;
    });
    const socket = file('run/vms/web01/sock/vnc');
    const taken = () =>
      logIn(socket, PASSWORD).then(
        (each) => each.taken,
        () => false,
      );
    await stage.until('the screen', taken);
  });

  test('that stops, or does not come up, leaves none of it', () => {
    ok(['stop', 'web01', '--timeout', '0s']);
    expect(holders()).toEqual([]);
    // QEMU ends at once without a ROM: the start is undone after the values were written.
    writeFileSync(file('empty.rom'), '');
    const broken = { ...DOCUMENT, name: 'web02', firmware: { rom: file('empty.rom') } };
    writeFileSync(file('web02.json'), JSON.stringify(broken));
    ok(['create', '-f', file('web02.json')]);
    expect(brig(['start', 'web02'])).not.toBe(0);
    expect(holders()).toEqual([]);
    ok(['secret', 'set', 'vnc', '--owner', 'alice'], LONG);
    expect(brig(['start', 'web01'])).toBe(75);
    expect(brig(['secret', 'set', 'pw', LONG])).toBe(64);
    ok(['events', '--json']);
    for (const name of ['web01', 'web02']) ok(['destroy', name]);
  });

  test('and nothing that was said or written has any of it', () => {
    const all = [
      ...said,
      { where: 'log', text: stage.log },
      ...filesOf().map(({ path, text }) => ({ where: path, text })),
    ];
    expect(leaks(ALL, all)).toEqual([]);
    expect(leaks(['secret:vnc'], all).length).toBeGreaterThan(0);
  });
});

describe('a person at a terminal', () => {
  /** script(1) gives it a terminal; what is typed comes when it is asked for. */
  const typed = (args: readonly string[], answers: readonly string[]): Promise<{ status: number; shown: string }> =>
    new Promise((resolve) => {
      const command = [process.execPath, ...stage.command, ...args].join(' ');
      const child = spawn('/usr/bin/script', ['-qec', command, '/dev/null']);
      let shown = '';
      let asked = 0;
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        shown += text;
        const prompts = shown.match(/^[A-Z].*: /gm)?.length ?? 0;
        for (; asked < Math.min(prompts, answers.length); asked++) child.stdin.write(answers[asked] ?? '');
      });
      child.on('close', (status) => resolve({ status: status ?? 127, shown }));
    });
  const value = async (): Promise<number> =>
    (await stage.client.secrets.list()).filter(({ name }) => name === 'typed').length;

  test('is asked twice, sees nothing of it, and may take back what was typed', async () => {
    const { status, shown } = await typed(['secret', 'set', 'typed'], [`x\u0015${LONG}y\u007f\r`, `${LONG}\r`]);
    expect([status, shown.includes('canary')]).toEqual([0, false]);
    expect(await value()).toBe(1);
  });

  test('who types two different ones, or Ctrl-C, sets nothing', async () => {
    ok(['secret', 'rm', 'typed']);
    expect(await typed(['secret', 'set', 'typed'], [`${LONG}\r`, 'another\r'])).toMatchObject({ status: 64 });
    expect(await typed(['secret', 'set', 'typed'], [`${LONG}\u0003`])).toMatchObject({ status: 130 });
    expect(await value()).toBe(0);
  });
});

describe('a master key of a program', () => {
  test('is what it prints, unless others may change the program', async () => {
    const own = new Stage('hook', { accel: 'tcg', secrets: { master: { hook: file('hook') } } });
    const key = Buffer.alloc(32, 7).toString('base64');
    try {
      writeFileSync(file('hook'), `#!/bin/sh\n[ $# -eq 0 ] && echo 'master-secret ${key}'\n`);
      chmodSync(file('hook'), 0o722);
      await own.up();
      expect(own.brig('secret', 'set', 'x', '--file', '/etc/hostname')).toMatchObject({ status: 77 });
      chmodSync(file('hook'), 0o700);
      expect(own.brig('secret', 'set', 'x', '--file', '/etc/hostname')).toMatchObject({ status: 0 });
      writeFileSync(file('hook'), `#!/bin/sh\necho 'master-secret ${LONG}'; echo ${key} >&2; exit 1\n`);
      await own.down();
      await own.up();
      const { status, stderr } = own.brig('secret', 'set', 'y', '--file', '/etc/hostname');
      expect([status, stderr]).toEqual([75, expect.stringContaining('hook ended with status 1')]);
      expect(own.log + stderr).not.toContain(key);
    } finally {
      await own.close();
    }
  });
});

test('brigd leaves no core', async () => {
  const dir = file('core');
  writeFileSync(file('core.yaml'), JSON.stringify({ host: 'model', stateDir: `${dir}/state`, runDir: `${dir}/run` }));
  const child = spawn(`${root}bin/brigd`, ['--config', file('core.yaml')], { stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = new Promise((resolve) => child.on('close', resolve));
  try {
    await new Promise<void>((resolve) =>
      child.stderr.setEncoding('utf8').on('data', (text: string) => text.includes('brigd.ready') && resolve()),
    );
    const limits = readFileSync(`/proc/${child.pid ?? 0}/limits`, 'utf8');
    expect(readFileSync(`/proc/${child.pid ?? 0}/cmdline`, 'utf8')).toContain('brigd');
    // 1 is fewer than any has, and also stops a core that is piped to a program.
    expect(/^Max core file size +(\S+) +(\S+)/m.exec(limits)?.slice(1)).toEqual(['1', '1']);
  } finally {
    child.kill('SIGTERM');
    await ended;
    rmSync(dir, { recursive: true, force: true });
  }
});
