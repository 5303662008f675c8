import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { inventory, isFreebsd, leftovers, run, Stage, UNIT_BASE } from './demo/stage.ts';

interface View {
  readonly name: string;
  readonly state: string;
  readonly pid: number;
  readonly reason?: string;
  readonly nics: readonly { readonly unit: number }[];
  readonly lastEnd?: { readonly exit: string; readonly cause: string };
}

interface Explained {
  readonly differences: readonly unknown[];
  readonly findings: readonly unknown[];
}

/** What people do to the host's end of a NIC. */
const BY_HAND: readonly (readonly [string, (unit: number, bridge: string) => string])[] = isFreebsd
  ? [
      ['off its bridge', (unit, bridge) => `/sbin/ifconfig ${bridge} deletem epair${unit}a`],
      ['down', (unit) => `/sbin/ifconfig epair${unit}a down`],
      ['destroyed', (unit) => `/sbin/ifconfig epair${unit}a destroy`],
      ['on a bridge that is down', (_, bridge) => `/sbin/ifconfig ${bridge} down`],
    ]
  : [
      ['off its bridge', (unit) => `/usr/sbin/ip link set brigv${unit} nomaster`],
      ['down', (unit) => `/usr/sbin/ip link set brigv${unit} down`],
      ['destroyed', (unit) => `/usr/sbin/ip link delete brigv${unit}`],
      ['on a bridge that is down', (_, bridge) => `/usr/sbin/ip link set ${bridge} down`],
    ];

const SMALL = ['--test-rom', '--memory', '64M', '--nic', 'default'] as const;

/** The same story on every real host: a brigd of its own, real VMs, nothing left. */
export const tellStory = (config: Record<string, unknown> = {}): void => {
  let stage: Stage;
  let before: Record<string, string[]>;
  const view = (name: string): View => stage.json('show', name);
  const ok = (...args: string[]): string => {
    const { status, stdout, stderr } = stage.brig(...args);
    expect(status, `brig ${args.join(' ')}: ${stderr}`).toBe(0);
    return stdout;
  };
  const refused = (status: number, ...args: string[]): string => {
    const ran = stage.brig(...args);
    expect({ status: ran.status, lines: ran.stderr.trimEnd().split('\n').length }, ran.stderr).toEqual({
      status,
      lines: 1,
    });
    return ran.stderr;
  };

  beforeAll(async () => {
    before = inventory();
    stage = new Stage('test', config);
    await stage.up();
  });

  afterAll(async () => {
    await stage.close();
    expect(leftovers(before, inventory())).toEqual([]);
  });

  describe('one VM', () => {
    test('boots, talks, and stops by its power button', async () => {
      ok('create', 'one', ...SMALL, '--disk', 'file:1M');
      ok('start', 'one');
      expect(view('one')).toMatchObject({ state: 'running' });
      await stage.until('the banner', () => stage.type('one', '').includes('GUEST UP'));
      await stage.until('the echo', () => stage.type('one', 'xyz').includes('xyz'));
      for (const fifo of ['con.in', 'con.out']) {
        const { uid, gid, mode } = statSync(`${stage.dir}/run/vms/one/${fifo}`);
        expect([uid, gid, (mode & 0o777).toString(8)], fifo).toEqual([0, 0, '600']);
      }
      expect(stage.json('plan', 'start', 'one')).toEqual([]);
      ok('stop', 'one');
      expect(view('one')).toMatchObject({ state: 'defined' });
    });

    test('brigd makes its socket anew when somebody removed it', async () => {
      rmSync(stage.socket);
      await stage.until('the socket', () => existsSync(stage.socket));
      expect([statSync(stage.socket).mode & 0o777, view('one').state]).toEqual([0o600, 'defined']);
    });

    test('a second start does nothing, and says so', () => {
      ok('start', 'one');
      const again = stage.brig('start', 'one');
      expect([again.status, again.stderr]).toEqual([0, 'one: already running\n']);
    });

    test('an audit of it measures every property, and each holds', () => {
      const ran = stage.brig('--json', 'audit', 'one');
      const [audit] = JSON.parse(ran.stdout) as { passes: boolean; properties: { id: string; verdict: string }[] }[];
      const broken = audit?.properties.filter(({ verdict }) => verdict !== 'holds');
      const off = stage
        .json<{ level: string; what: string }[]>('doctor')
        .some(({ level, what }) => level !== 'ok' && what === 'resource limits');
      // A host without rctl(8) does not pass, and says so.
      expect(broken).toEqual(off ? [expect.objectContaining({ id: 'limits.rctl', verdict: 'broken' })] : []);
      expect([audit?.passes, ran.status]).toEqual(off ? [false, 1] : [true, 0]);
      expect(audit?.properties.length).toBeGreaterThan(20);
    });

    test.each([
      ['q', 'defined', 'power-off', 'guest'],
      ['t', 'failed', 'triple fault', 'crash'],
    ])('key %s ends it as %s by %s', async (key, state, exit, cause) => {
      ok('create', `key-${key}`, ...SMALL, '--restart', 'never');
      ok('start', `key-${key}`);
      stage.type(`key-${key}`, key);
      await stage.until(`the end by ${key}`, () => view(`key-${key}`).state === state);
      expect(view(`key-${key}`).lastEnd).toMatchObject({ exit, cause });
      ok('destroy', `key-${key}`);
    });

    test('a guest that resets runs on in a new process', async () => {
      const { pid } = view('one');
      stage.type('one', 'r');
      await stage.until('the new process', () => view('one').state === 'running' && view('one').pid !== pid);
      await stage.until('the event', () => ok('events', 'one').includes('vm.reset'));
    });

    test('a killed process is a crash, and is restarted', async () => {
      const { pid } = view('one');
      process.kill(pid, 'SIGKILL');
      await stage.until('the restart', () => view('one').state === 'running' && view('one').pid !== pid);
      expect(view('one').lastEnd).toMatchObject({ exit: 'signal 9', cause: 'crash' });
      expect(ok('explain', 'one')).toContain('signal 9');
    });

    test('a halted guest that ignores the button is forced', () => {
      ok('create', 'halt', ...SMALL, '--restart', 'never');
      ok('start', 'halt');
      stage.type('halt', 'h');
      ok('stop', 'halt', '--timeout', '500ms');
      expect(view('halt').state).not.toBe('running');
      ok('destroy', 'halt');
    });

    test.each(BY_HAND)('whose NIC somebody changes (%s) gets it back, and runs on', async (_, command) => {
      const { pid, nics } = view('one');
      const repairs = (): number => ok('events', 'one').split('vm.repaired').length;
      const before = repairs();
      const [program = '', ...args] = command(nics[0]?.unit ?? 0, `bridge${UNIT_BASE}`).split(' ');
      expect(run(program, args), 'by hand').toMatchObject({ status: 0 });
      await stage.until('the repair', () => repairs() > before);
      await stage.until('nothing to tell', () => stage.json<Explained>('explain', 'one').differences.length === 0);
      expect(stage.json<Explained>('explain', 'one').findings).toEqual([]);
      expect(view('one')).toMatchObject({ state: 'running', pid });
    });

    test('kill does not ask', () => {
      const startMs = Date.now();
      ok('kill', 'one');
      expect(view('one').state).toBe('defined');
      expect(Date.now() - startMs).toBeLessThan(10_000);
    });
  });

  describe('brigd', () => {
    test('killed while a VM runs: the VM lives on and is adopted', async () => {
      ok('start', 'one');
      const { pid } = view('one');
      await stage.down('SIGKILL');
      process.kill(pid, 0);
      await stage.up();
      expect(view('one')).toMatchObject({ state: 'running', pid });
      expect(stage.type('one', 'alive')).toContain('alive');
    });

    test('restarted politely: the same', async () => {
      const { pid } = view('one');
      await stage.down('SIGTERM');
      await stage.up();
      expect(view('one')).toMatchObject({ state: 'running', pid });
      ok('stop', 'one');
    });

    test.each([5, 20, 40, 80, 160, 320])('killed %i ms into a start: running, or nothing left', async (ms) => {
      void stage.client.operate('start', 'one').catch(() => undefined);
      await sleep(ms);
      await stage.down('SIGKILL');
      await stage.up();
      await stage.until('an end', () => ['running', 'failed', 'defined'].includes(view('one').state));
      const { state } = view('one');
      if (state === 'running') ok('stop', 'one');
      else expect(leftovers(before, inventory()).filter((line) => !line.includes('supervise'))).toEqual([]);
    });

    test('ended politely in the middle of a start: running, or undone', async () => {
      const start = stage.client.operate('start', 'one').then(
        () => 'done',
        () => 'undone',
      );
      await sleep(40);
      await stage.down('SIGTERM');
      await stage.up();
      const { state } = view('one');
      expect([await start, state]).toEqual(state === 'running' ? ['done', 'running'] : ['undone', 'failed']);
      if (state === 'running') ok('stop', 'one');
    });

    test('killed in the middle of a stop: stopped, or as if nobody had asked', async () => {
      ok('start', 'one');
      void stage.client.operate('stop', 'one').catch(() => undefined);
      await sleep(50);
      await stage.down('SIGKILL');
      await stage.up();
      // On a busy machine the kill may come before the stop is written down.
      const { state } = view('one');
      expect(['defined', 'running']).toContain(state);
      if (state === 'running') ok('stop', 'one');
    });

    test('a second one on the same files is refused', () => {
      const root = new URL('../', import.meta.url).pathname;
      const second = run(process.execPath, [`${root}src/daemon/main.ts`, '--config', `${stage.dir}/brig.yaml`]);
      expect(second.status).toBe(75);
      expect(second.stderr).toContain('another brigd uses it');
      expect(stage.brig('list').status).toBe(0);
    });

    test('its files are root only', () => {
      const mode = (path: string): string => (statSync(`${stage.dir}/${path}`).mode & 0o777).toString(8);
      expect([mode('run/brigd.sock'), mode('state/brig.db'), mode('run/exits')]).toEqual(['600', '600', '700']);
    });
  });

  describe('a node', () => {
    const define = (name: string, boot: object): void => {
      const path = `${stage.dir}/${name}.yaml`;
      const document = { name, memory: '64M', firmware: { builtin: 'test' }, autostart: true, boot };
      writeFileSync(path, JSON.stringify(document));
      ok('create', '-f', path);
    };
    const events = (from: number): { seq: number; kind: string; vm?: string; data: object }[] =>
      ok('events', '--json', '--after', String(from))
        .trimEnd()
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line) as { seq: number; kind: string; vm?: string; data: object });
    const lastSeq = (): number => events(0).at(-1)?.seq ?? 0;

    test('that boots starts its VMs in order, each when the one before it has said that it is ready', async () => {
      define('order-web', { after: ['order-db'], priority: 0 });
      define('order-db', { ready: { console: 'login:' } });
      ok('start', 'order-db');
      await stage.until('the echo', () => stage.type('order-db', 'login:').includes('login:'));
      ok('stop', 'order-db');
      const from = lastSeq();
      await stage.down('SIGTERM');
      rmSync(`${stage.dir}/run/booted`);
      await stage.up();
      await stage.until('the first', () => view('order-db').state === 'running');
      await sleep(1_500);
      // What its console said in an earlier run does not count.
      expect(view('order-web').state).toBe('defined');
      stage.type('order-db', 'login:');
      await stage.until('the second', () => view('order-web').state === 'running');
      await stage.until('the end', () => events(from).some(({ kind }) => kind === 'boot.done'));
      const told = events(from).filter(({ kind }) => kind === 'vm.running' || kind === 'boot.done');
      expect(told.map(({ kind, vm, data }) => vm ?? [kind, data])).toEqual([
        'order-db',
        'order-web',
        ['boot.done', { ready: 2, failed: 0, skipped: 0 }],
      ]);
    });

    test('that shuts down stops them in the opposite order', () => {
      expect(stage.json('shutdown', '--timeout', '30s')).toEqual({ stopped: ['order-web', 'order-db'], failed: [] });
      for (const name of ['order-web', 'order-db']) {
        expect(view(name).state).toBe('defined');
        ok('destroy', name);
      }
    });
  });

  describe('requests', () => {
    test('two starts at once: one wins, the other is told', async () => {
      const [a, b] = await Promise.all([stage.brigLater('start', 'one'), stage.brigLater('start', 'one')]);
      const statuses = [a.status, b.status].sort((x, y) => x - y);
      expect(statuses[0]).toBe(0);
      if (statuses[1] !== 0) {
        expect(statuses[1]).toBe(75);
        expect(a.stderr + b.stderr).toContain('blocked: already starting');
      }
      ok('stop', 'one');
    });

    test('Ctrl-C in a start undoes it', async () => {
      const { spawn } = await import('node:child_process');
      const root = new URL('../', import.meta.url).pathname;
      const child = spawn(process.execPath, [`${root}src/cli/main.ts`, '--socket', stage.socket, 'start', 'one']);
      const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
      // Asked in this process: a start is over before many a program has begun.
      await stage.until(
        'the start to begin',
        async () => !['defined', 'failed'].includes((await stage.client.show('one')).state),
        5_000,
      );
      child.kill('SIGINT');
      const status = await ended;
      // It may have been too late: then it runs, as a start does.
      if (status === 0) ok('stop', 'one');
      else expect(status).toBe(130);
      expect(['defined', 'failed']).toContain(view('one').state);
    });

    test('an unknown name is told with the nearest', () => {
      expect(refused(69, 'start', 'onee')).toContain('did you mean one?');
      expect(refused(64, 'strat', 'one')).toContain('did you mean brig start?');
      expect(refused(64, 'start')).toContain('usage: brig start');
    });

    test('a wrong document tells everything that is wrong', () => {
      const path = `${stage.dir}/bad.yaml`;
      writeFileSync(path, 'name: Bad!\ncpus: none\nfirmware: {rom: relative}\nsurprise: 1\n');
      const { status, stderr } = stage.brig('create', '-f', path);
      expect(status).toBe(65);
      for (const word of ['name', 'cpus', 'firmware.rom', 'surprise']) expect(stderr).toContain(word);
      expect(stage.brig('create', '-f', '/no/such').status).toBe(65);
    });

    test('what exists is not made again', () => {
      expect(refused(73, 'create', 'one', ...SMALL)).toContain('a VM of this name exists');
    });

    test('without brigd the reason is one line', () => {
      const { status, stderr } = run(process.execPath, [
        new URL('../src/cli/main.ts', import.meta.url).pathname,
        '--socket',
        '/no/socket',
        'list',
      ]);
      expect([status, stderr.trimEnd().split('\n').length]).toEqual([69, 1]);
      expect(stderr).toContain('brigd is not running');
    });

    test('a start that fails says which command, and leaves nothing', () => {
      writeFileSync(`${stage.dir}/empty.rom`, '');
      ok('create', 'bad', '--rom', `${stage.dir}/empty.rom`, '--memory', '64M', '--restart', 'never');
      const { status, stderr } = stage.brig('start', 'bad');
      expect([71, 75]).toContain(status);
      expect(stderr).toMatch(/start: wait for .*: the process ended/);
      expect(view('bad').state).toBe('failed');
      ok('destroy', 'bad');
    });

    test('doctor finds this host fit', () => {
      const findings = stage.json<{ level: string; what: string }[]>('doctor');
      expect(findings.filter((finding) => finding.level === 'problem')).toEqual([]);
      expect(findings.length).toBeGreaterThan(3);
    });

    test('the log has no escape sequences of a guest', () => {
      expect(readFileSync(`${stage.dir}/state/brig.db`).includes(Buffer.from('\x1b['))).toBe(false);
    });
  });
};
