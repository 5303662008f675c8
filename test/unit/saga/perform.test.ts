import { describe, expect, test } from 'vitest';
import type { Command, Host, Result } from '../../../src/base/host.ts';
import { command, run } from '../../../src/platform/command.ts';
import { perform, renderCommand } from '../../../src/saga/perform.ts';

const answer = (status: number, stdout = '', stderr = ''): Result => ({ status, stdout, stderr, timedOut: false });

/** A host that gives prepared answers, in order, the last one for ever. */
const scripted = (...answers: Result[]): { host: Host; ran: Command[]; files: Map<string, string> } => {
  const ran: Command[] = [];
  const files = new Map<string, string>();
  let now = 0;
  const host = {
    run: (each: Command) => {
      ran.push(each);
      return Promise.resolve((answers.length > 1 ? answers.shift() : answers[0]) as Result);
    },
    stat: (path: string) => Promise.resolve(files.has(path) ? { kind: 'file' } : undefined),
    readFile: (path: string) => Promise.resolve(files.get(path)),
    sleep: (ms: number) => {
      now += ms;
      return Promise.resolve();
    },
    now: () => now,
  } as unknown as Host;
  return { host, ran, files };
};

const probe = command('/bin/ps', ['-J', 'brig-web01']);

describe('run', () => {
  test('a failure names command, status and stderr on one line', async () => {
    const { host } = scripted(answer(1, '', 'ifconfig: SIOCIFCREATE2 (tap7): File exists\nmore\n'));
    await expect(perform(host, run(command('/sbin/ifconfig', ['tap7', 'create'])))).rejects.toThrow(
      'run /sbin/ifconfig tap7 create: status 1: ifconfig: SIOCIFCREATE2 (tap7): File exists; more',
    );
  });

  test('of several things one may be gone and another busy: busy is tried again', async () => {
    const { host, ran } = scripted(
      answer(1, '', "failed 'a': No such file\nfailed 'b': busy\n"),
      answer(1, '', 'No such file'),
    );
    const effect = run(command('/usr/bin/rmdir', ['/a', '/b']), {
      tolerate: [{ status: 1, stderr: 'No such file' }],
      retry: { on: { status: 1, stderr: 'busy' }, forMs: 1000 },
    });
    await perform(host, effect);
    expect(ran).toHaveLength(2);
    await expect(perform(scripted(answer(1, '', 'No such file; busy')).host, effect)).rejects.toThrow('busy');
  });

  test('absent is success for an undo', async () => {
    const { host } = scripted(answer(1, '', 'ifconfig: interface tap7 does not exist'));
    await perform(
      host,
      run(command('/sbin/ifconfig', ['tap7', 'destroy']), { tolerate: [{ status: 1, stderr: 'does not exist' }] }),
    );
  });

  test('another answer of the same status is not tolerated', async () => {
    const { host } = scripted(answer(1, '', 'permission denied'));
    await expect(perform(host, run(probe, { tolerate: [{ status: 1, stderr: 'does not exist' }] }))).rejects.toThrow(
      'permission denied',
    );
  });

  test('what was read back must be what was meant', async () => {
    const { host } = scripted(answer(0, '100 hide\n'));
    await expect(
      perform(host, run(command('/sbin/devfs', ['rule', 'show']), { expect: '100 hide\n200 path null unhide\n' })),
    ).rejects.toThrow('line 2: expected "200 path null unhide", got ""');
  });

  test('busy is retried until it passes', async () => {
    const busy = answer(1, '', 'umount: unmount of /r failed: Device busy');
    const { host, ran } = scripted(busy, busy, answer(0));
    await perform(
      host,
      run(command('/sbin/umount', ['/r']), { retry: { on: { status: 1, stderr: 'Device busy' }, forMs: 1000 } }),
    );
    expect(ran).toHaveLength(3);
  });

  test('busy for ever ends in an error', async () => {
    const { host } = scripted(answer(1, '', 'Device busy'));
    await expect(
      perform(host, run(probe, { retry: { on: { status: 1, stderr: 'Device busy' }, forMs: 1000 } })),
    ).rejects.toThrow('Device busy');
  });

  test('a host that does not answer is a timeout, not a failure', async () => {
    const { host } = scripted({ ...answer(124), timedOut: true });
    await expect(perform(host, run(probe))).rejects.toMatchObject({ code: 'host.timeout', retry: 'operator' });
  });
});

describe('await', () => {
  const wait = { do: 'await', what: 'bhyve', probe, until: { matches: ' SCJ ' }, timeoutMs: 1000 } as const;

  test('ends with the first look that is satisfied', async () => {
    const { host, ran } = scripted(answer(1), answer(0, ' 1 SJ x'), answer(0, ' 1 SCJ x'));
    await perform(host, wait);
    expect(ran).toHaveLength(3);
  });

  test('ends at once when nobody wants it any more', async () => {
    const { host, ran } = scripted(answer(1));
    await expect(perform(host, wait, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'saga.cancelled',
    });
    expect(ran).toHaveLength(1);
  });

  test('says how long it waited', async () => {
    const { host } = scripted(answer(1));
    await expect(perform(host, wait)).rejects.toThrow('wait for bhyve: not within 1 s');
  });

  test('ends at once when it will never come, and quotes why', async () => {
    const { host, files, ran } = scripted(answer(1));
    files.set('/exit', 'run1 4 0\n').set('/err', 'bhyve: vm_openf: Device busy\r\n');
    await expect(perform(host, { ...wait, unless: '/exit', quote: '/err' })).rejects.toThrow(
      'wait for bhyve: the process ended with status 4: bhyve: vm_openf: Device busy',
    );
    expect(ran).toHaveLength(1);
  });

  test('what a guest writes cannot reach the terminal raw', async () => {
    const { host, files } = scripted(answer(1));
    files.set('/exit', '').set('/err', '\x1b]0;owned\x07');
    await expect(perform(host, { ...wait, unless: '/exit', quote: '/err' })).rejects.toThrow('\\x1b]0;owned\\x07');
  });
});

describe('escalate', () => {
  const stage = (name: string) => ({ name, effect: run(command('/bin/kill', [name])), waitMs: 100 });
  const escalate = {
    do: 'escalate',
    gone: { probe, until: { status: 1 } },
    stages: [stage('TERM'), stage('KILL')],
  } as const;

  test('asks nobody when it is gone already', async () => {
    const { host, ran } = scripted(answer(1));
    await perform(host, escalate);
    expect(ran.map((each) => each.program)).toEqual(['/bin/ps']);
  });

  test('stops asking when it is gone', async () => {
    const { host, ran } = scripted(answer(0), answer(0), answer(1));
    await perform(host, escalate);
    expect(ran.map((each) => each.args[0])).toEqual(['-J', 'TERM', '-J']);
  });

  test('gives no more time when somebody is in a hurry, but asks the last stage to its end', async () => {
    const hurry = new AbortController();
    const long = { ...escalate, stages: [{ ...stage('TERM'), waitMs: 1e12 }, stage('QUIT'), stage('KILL')] } as const;
    const { host, ran } = scripted(answer(0));
    const done = perform(host, long, { hurry: hurry.signal });
    hurry.abort();
    await expect(done).rejects.toThrow('still there after KILL');
    expect(ran.map((each) => each.args[0]).filter((each) => each !== '-J')).toEqual(['TERM', 'QUIT', 'KILL']);
    expect(ran.map((each) => each.args[0]).lastIndexOf('-J')).toBeGreaterThan(
      ran.findLastIndex((each) => each.args[0] === 'KILL'),
    );
  });

  test('says when nothing helped', async () => {
    const { host } = scripted(answer(0));
    await expect(perform(host, escalate)).rejects.toThrow('still there after KILL');
  });
});

test('a command is shown as a person would type it', () => {
  expect(renderCommand(command('/sbin/x', ['a b', "it's", 'k=v', '', '*']))).toBe(
    `/sbin/x 'a b' 'it'\\''s' k=v '' '*'`,
  );
});
