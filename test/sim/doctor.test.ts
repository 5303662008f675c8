import { afterEach, describe, expect, test } from 'vitest';
import type { Finding } from '../../src/platform/platform.ts';
import type { ModelOptions } from '../../src/model/world.ts';
import { World } from './world.ts';

let world: World | undefined;
afterEach(() => {
  world?.close();
  world = undefined;
});

const ready = async (options: ModelOptions = {}): Promise<World> => {
  world = await new World(options).prepare();
  return world;
};
const doctor = async (each: World): Promise<readonly Finding[]> => await each.platform.doctor(each.model.host);
const of = (findings: readonly Finding[], what: string): Finding | undefined =>
  findings.find((finding) => finding.what === what);

/** What makes a fresh host as good as doctor can wish. */
const harden = async (each: World): Promise<void> => {
  for (const name of ['see_other_uids', 'see_other_gids', 'unprivileged_proc_debug', 'unprivileged_read_msgbuf'])
    await each.shell('/sbin/sysctl', `security.bsd.${name}=0`);
  each.model.setTunable('kern.securelevel', '1');
  await each.filter();
  each.model.posture.release = '15.1-RELEASE-p4';
  each.model.posture.services.add('ntpd');
};

describe('doctor', () => {
  test('finds nothing on a host that is as it should be', async () => {
    const host = await ready();
    await harden(host);
    expect((await doctor(host)).filter(({ level }) => level !== 'ok')).toEqual([]);
  });

  test('says of every finding what mends it', async () => {
    const findings = await doctor(await ready());
    expect(findings.filter(({ level, mend }) => level !== 'ok' && mend === undefined)).toEqual([]);
    expect(findings.length).toBeGreaterThan(20);
  });

  const bends: readonly (readonly [string, (each: World) => unknown, string, RegExp])[] = [
    [
      'processes of others in sight',
      (each) => each.shell('/sbin/sysctl', 'security.bsd.see_other_uids=1'),
      'processes of others',
      /see_other_uids=1/,
    ],
    ['SMT', (each) => each.model.setTunable('kern.smp.threads_per_core', '2'), 'SMT', /2 threads a core/],
    ['rctl off', (each) => each.model.setTunable('kern.racct.enable', '0'), 'resource limits', /off/],
    ['swap in the clear', (each) => each.model.posture.swap.push('/dev/ada0p2'), 'swap', /ada0p2 holds guest memory/],
    ['no clock', (each) => each.model.posture.services.delete('ntpd'), 'time', /nobody keeps it/],
    ['a pool that is not well', (each) => (each.model.posture.poolHealth = 'DEGRADED'), 'pools', /tank DEGRADED/],
    [
      'a release with a hole in its walls',
      (each) => (each.model.posture.release = '15.1-RELEASE-p3'),
      'patch level',
      /SA-26:66/,
    ],
    ['a boot script that is off', (each) => each.model.posture.enabled.clear(), 'boot script', /does not start/],
    [
      "a machine that is nobody's",
      (each) => each.model.plantMachine('mine'),
      'machines in vmm(4)',
      /mine: no VM of brig/,
    ],
    ['nmdm loaded', (each) => each.shell('/sbin/kldload', 'nmdm'), 'module nmdm', /clone its nodes/],
    [
      'anchors that nobody refers to',
      (each) => each.shell('/sbin/pfctl', '-F', 'rules'),
      'pf anchors',
      /lacks anchor "brig/,
    ],
    ['a lower secure level', (each) => each.model.setTunable('kern.securelevel', '-1'), 'secure level', /any module/],
    [
      'taps by opening',
      (each) => each.shell('/sbin/sysctl', 'net.link.tap.devfs_cloning=1'),
      'taps by opening',
      /a jail could make/,
    ],
  ];
  test.each(bends)('finds %s', async (_, change, what, got) => {
    const host = await ready();
    await harden(host);
    await change(host);
    const found = await freshly(host);
    expect(found.filter(({ level }) => level !== 'ok').map((each) => each.what)).toEqual([what]);
    expect(of(found, what)?.got).toMatch(got);
  });

  /** A new brigd: what the kernel can do is asked when brigd starts. */
  const freshly = async (each: World): Promise<readonly Finding[]> => {
    const findings = await doctor(each);
    if (of(findings, 'resource limits')?.level !== 'ok' || each.model.state.sysctl('kern.racct.enable') !== '0')
      return findings;
    each.die();
    await each.boot();
    return await doctor(each);
  };

  test('says aloud that FreeBSD 14 gives less', async () => {
    const found = of(await doctor(await ready({ mode: '14' })), 'bhyve without root');
    expect(found?.level).toBe('warning');
    expect(found?.got).toContain('DOWNGRADED');
  });
});
