import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run, Stage } from '../demo/stage.ts';

const stage = new Stage('shells', { host: 'model' });
const work = join(stage.dir, 'work');

/** In PATH: answers completions, and writes down what else it was called with. */
const WRAPPER = `#!/bin/sh
case $1 in
__complete | completion) exec ${[process.execPath, ...stage.command].map((word) => `'${word}'`).join(' ')} "$@" ;;
esac
{ printf '<%s>' "$@"; echo; } >>"$TYPED"
`
  // The socket comes from the environment, as it does for people.
  .replace(` '--socket' '${stage.socket}'`, '');

const environment = (socket = stage.socket): Record<string, string> => ({
  PATH: `${stage.dir}/bin:/usr/bin:/bin`,
  HOME: work,
  TERM: 'vt100',
  LC_ALL: 'C',
  BRIG_SOCKET: socket,
});

const complete = (words: readonly string[], socket?: string) =>
  run('/usr/bin/env', [
    '-i',
    ...Object.entries(environment(socket)).map(([key, value]) => `${key}=${value}`),
    ...[`${stage.dir}/bin/brig`, '__complete', '--', ...words],
  ]);

beforeAll(async () => {
  for (const dir of ['bin', 'work']) mkdirSync(join(stage.dir, dir));
  writeFileSync(join(stage.dir, 'bin/brig'), WRAPPER);
  chmodSync(join(stage.dir, 'bin/brig'), 0o755);
  writeFileSync(join(work, 'document.yaml'), '');
  await stage.up();
  const { client } = stage;
  const vm = (name: string, labels: Record<string, string>) => ({ name, firmware: { builtin: 'test' }, labels });
  await client.create(vm('web01', { tier: 'web', note: '$(touch pwned)' }));
  await client.create(vm('web02', { tier: 'web', note: 'x;touch pwned;`touch pwned`' }));
  await client.create(vm('db01', { tier: 'db' }));
  await client.snapshot('web01', 'first');
});

afterAll(() => stage.close());

/** A shell at a terminal of its own. */
class Terminal {
  readonly #shell: ChildProcessWithoutNullStreams;
  readonly #typed: string;
  #said = '';

  constructor(command: string) {
    this.#typed = join(stage.dir, `typed-${command.replaceAll(/\W/g, '')}`);
    const env = { ...environment(), TYPED: this.#typed };
    this.#shell = spawn('/usr/bin/script', ['-qc', command, '/dev/null'], { cwd: work, env });
    this.#shell.stdout.setEncoding('utf8').on('data', (text: string) => (this.#said += text));
  }

  type(text: string): void {
    this.#shell.stdin.write(text);
  }

  /** A line that ends with Tab, then Enter; what brig was called with. */
  async enter(line: string): Promise<string> {
    rmSync(this.#typed, { force: true });
    this.type(`${line}\t`);
    await sleep(50);
    this.type('\r');
    for (let i = 0; i < 200 && !existsSync(this.#typed); i++) await sleep(50);
    if (!existsSync(this.#typed)) throw new Error(`brig was not called: ${this.#said}`);
    await sleep(20);
    return readFileSync(this.#typed, 'utf8').trim();
  }

  /** A busy machine may need more than brigd is given: then nothing is completed, and a person types Tab again. */
  async completes(line: string, expected: string): Promise<void> {
    let got = '';
    for (let i = 0; i < 5 && got !== expected; i++) got = await this.enter(line);
    expect(got, this.#said).toBe(expected);
  }

  async close(): Promise<void> {
    const gone = new Promise((resolve) => this.#shell.once('exit', resolve));
    // Not ^C: it takes what was typed after it along.
    this.type('\u0015exit\r');
    this.#shell.stdin.end();
    await gone;
  }
}

/** How each starts without anybody's files, and what is in its rc file. */
const SHELLS: Readonly<Record<string, readonly [string, string]>> = {
  bash: ['/usr/bin/bash --norc --noprofile -i', 'eval "$(brig completion bash)"'],
  'bash as sh': ['/usr/bin/bash --posix --norc --noprofile -i', 'eval "$(brig completion bash)"'],
  zsh: ['/usr/bin/zsh -f -i', 'autoload -Uz compinit; compinit -u -D; eval "$(brig completion zsh)"'],
  tcsh: ['/usr/bin/tcsh -f', 'brig completion tcsh > brig.tcsh; source brig.tcsh'],
};

/** Side by side: each waits for its own brig most of the time. */
describe.concurrent.each(Object.entries(SHELLS))('%s completes', (_, [command, rc]) => {
  let terminal: Terminal;

  beforeAll(async () => {
    terminal = new Terminal(command);
    terminal.type(`${rc}\r`);
    await terminal.enter('brig ready');
  });

  afterAll(() => terminal.close());

  test.each([
    ['a command', 'brig expl', '<explain>'],
    ['a verb', 'brig snapshot roll', '<snapshot><rollback>'],
    ['an option', 'brig stop --al', '<stop><--all>'],
    ['a VM', 'brig show db', '<show><db01>'],
    ['what all of them begin with', 'brig show w', '<show><web0>'],
    ['a label', 'brig list --label tier=d', '<list><--label><tier=db>'],
    ['a label in the same word', 'brig list --label=tier=d', '<list><--label=tier=db>'],
    ['a VM after a word in quotes', 'brig --json "show" db', '<--json><show><db01>'],
    ['a snapshot', 'brig snapshot rm web01 f', '<snapshot><rm><web01><first>'],
    ['a snapshot after its VM', 'brig image build --from web01@', '<image><build><--from><web01@first>'],
    ['a template', 'brig create x --template deb', '<create><x><--template><debian>'],
    ['a file after an option', 'brig create -f docu', '<create><-f><document.yaml>'],
    ['a file', 'brig image import docu', '<image><import><document.yaml>'],
  ])('%s', { concurrent: false }, async (_what, line, expected) => await terminal.completes(line, expected));

  test('nothing that it would read as more than a word', { concurrent: false }, async () => {
    await terminal.completes('brig list --label note', '<list><--label><note>');
    await terminal.enter('brig list --label ""');
    expect(existsSync(join(work, 'pwned'))).toBe(false);
  });

  test('nothing that the line itself would do', { concurrent: false }, async () => {
    expect(await terminal.enter("brig show '$(touch pwned)`touch pwned`'")).toContain('touch');
    expect(existsSync(join(work, 'pwned'))).toBe(false);
  });
});

describe('fish completes', () => {
  const fish = (line: string): string[] => {
    const script = `brig completion fish | source; complete -C '${line}'`;
    const env = Object.entries(environment()).map(([key, value]) => `${key}=${value}`);
    const { stdout, stderr } = run('/usr/bin/env', [
      ...['-i', ...env, '/usr/bin/fish', '--no-config'],
      ...['-c', `cd ${work}; ${script}`],
    ]);
    expect(stderr).toBe('');
    return stdout.trim().split('\n');
  };

  test.each([
    [
      'a command',
      'brig expl',
      ['explain\twhy a VM is as it is; without NAME, whatever on this node is not as brig made it'],
    ],
    ['an option', 'brig stop --al', ['--all\tevery VM that runs']],
    ['VMs', 'brig show ', ['db01\tdefined', 'web01\tdefined', 'web02\tdefined']],
    ['a label', 'brig list --label=tier=d', ['--label=tier=db\tlabel']],
    ['labels, but none that is more than a word', 'brig list --label ', ['tier=db\tlabel', 'tier=web\tlabel']],
    ['a file', 'brig create -f docu', ['document.yaml']],
    ['a file in the same word', 'brig create --file=docu', ['--file=document.yaml']],
  ])('%s', async (_what, line, expected) => {
    let got: string[] = [];
    for (let i = 0; i < 5 && got.join() !== expected.join(); i++) got = await Promise.resolve(fish(line));
    expect(got.sort()).toEqual(expected);
  });
});

describe('completions', () => {
  test('without brigd are what is known without it', () => {
    expect(complete(['show', ''], '/nowhere')).toEqual({ status: 0, stdout: '', stderr: '' });
    expect(complete(['stop', '--al'], '/nowhere').stdout).toBe('--all\tevery VM that runs\n');
  });

  test('do not wait for a brigd that does not answer', async () => {
    const path = join(stage.dir, 'deaf.sock');
    const deaf: Server = createServer(() => undefined);
    await new Promise<void>((resolve) => deaf.listen(path, resolve));
    expect(complete(['show', ''], path)).toEqual({ status: 0, stdout: '', stderr: '' });
    await new Promise((resolve) => deaf.close(resolve));
  });

  test.each([[['nonsense', '']], [['--socket']], [['show', '\u0000'.slice(1), '']], [[]]])(
    'say nothing wrong: %j',
    (words) => expect(complete(words)).toMatchObject({ status: 0, stderr: '' }),
  );

  test('of sh there are none, and it says why', () => {
    const { status, stderr, stdout } = stage.brig('completion', 'sh');
    expect({ status, stdout }).toEqual({ status: 69, stdout: '' });
    expect(stderr.split('\n')).toHaveLength(2);
    expect(stderr).toContain('completes programs and files only');
  });
});

test('brig --version says the version of the package', () => {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  expect(stage.brig('--version').stdout).toBe(`brig ${version}\n`);
});

test('brig COMMAND --help and brig help COMMAND say the same', () => {
  expect(stage.brig('snapshot', 'rm', '--help').stdout).toBe(stage.brig('help', 'snapshot', 'rm').stdout);
  expect(stage.brig('start', '--help').stdout).toBe(stage.brig('help', 'start').stdout);
});
