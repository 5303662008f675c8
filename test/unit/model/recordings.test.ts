import type { Host, Result } from '../../../src/base/host.ts';
import { describe, expect, test } from 'vitest';
import { NOT_COVERED } from './not-covered.ts';
import { replay, type Session } from './replay.ts';
import { SESSIONS } from './sessions.ts';

describe.each(SESSIONS)('$file', (session) => {
  test('is answered as FreeBSD answered', async () => {
    const { compared, notCovered } = await replay(session);
    expect(compared.map(({ command, got }) => `$ ${command}\n${got}`)).toEqual(
      compared.map(({ command, wanted }) => `$ ${command}\n${wanted}`),
    );
    expect(notCovered).toEqual(NOT_COVERED[session.file]);
  });
});

describe('the conformance test can fail', () => {
  /** The session with a model that answers otherwise. */
  const bend = (session: Session, program: string, change: (result: Result) => Result): Session => ({
    ...session,
    scene: () => {
      const scene = session.scene();
      const host = scene.model.host as { run: Host['run'] };
      const real = host.run;
      host.run = async (command) => {
        const result = await real(command);
        return command.program === program ? change(result) : result;
      };
      return scene;
    },
  });
  const louder = (result: Result): Result =>
    result.stdout === '' ? result : { ...result, stdout: `${result.stdout}x\n` };
  const other = (result: Result): Result =>
    result.stderr === '' ? result : { ...result, stderr: `x${result.stderr}` };
  // A command that works is needed to go on.
  const worse = (result: Result): Result => (result.status === 0 ? result : { ...result, status: result.status + 1 });

  test.each([
    ['start-stop-vnet.txt', '/usr/sbin/jls', 'stdout', louder],
    ['start-stop-vnet.txt', '/sbin/devfs', 'stdout', louder],
    ['run-vnet-stdio.txt', '/sbin/ifconfig', 'stdout', louder],
    ['run-vnet-stdio.txt', '/bin/ps', 'stdout', louder],
    ['storage.txt', '/sbin/zfs', 'stderr', other],
    ['storage.txt', '/sbin/zfs', 'status', worse],
    ['bhyve-failures.txt', '/usr/sbin/jexec', 'stderr', other],
    ['bhyve-failures.txt', '/usr/sbin/jexec', 'status', worse],
    ['errors-and-timings.txt', '/usr/sbin/jail', 'stderr', other],
  ])('%s: a %s with another %s is a difference', async (file, program, _, change) => {
    const session = SESSIONS.find((each) => each.file === file);
    if (!session) throw new Error(`no session ${file}`);
    const { compared } = await replay(bend(session, program, change));
    expect(compared.filter(({ got, wanted }) => got !== wanted).length).toBeGreaterThan(0);
  });
});
