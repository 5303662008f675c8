import { describe, expect, test } from 'vitest';
import { machine, prepareJail, Scene } from './scene.ts';

const ROOT = { mode: 0o755, uid: 0, gid: 0 };

describe('a fault', () => {
  test('before: nothing happens and it fails', async () => {
    const scene = new Scene();
    scene.model.onCommand = () => 'before';
    expect(await scene.sh('ifconfig tap7 create')).toEqual({
      status: 1,
      stdout: '',
      stderr: 'model: injected fault\n',
      timedOut: false,
    });
    scene.model.onCommand = undefined;
    expect(await scene.ok('ifconfig -l')).toBe('vtnet0 lo0\n');
  });

  test('after: it happens and fails', async () => {
    const scene = new Scene();
    scene.model.onCommand = ({ args }) => (args[0] === 'tap7' ? 'after' : undefined);
    expect(await scene.sh('ifconfig tap7 create')).toMatchObject({ status: 1, stderr: 'model: injected fault\n' });
    expect(await scene.ok('ifconfig -l')).toBe('vtnet0 lo0 tap7\n');
  });

  test('hang: it never answers, and patience costs virtual time', async () => {
    const scene = new Scene();
    const before = scene.model.clock.now();
    scene.model.onCommand = (_, index) => (index === 0 ? 'hang' : undefined);
    expect(await scene.sh('ifconfig tap7 create', undefined, 30_000)).toMatchObject({ timedOut: true, status: 124 });
    expect(scene.model.clock.now() - before).toBe(30_000);
    expect(await scene.ok('ifconfig -l')).toBe('vtnet0 lo0\n');
  });

  test('thrown reaches whoever asked', async () => {
    const scene = new Scene();
    scene.model.onCommand = () => {
      throw new Error('brigd is gone');
    };
    await expect(scene.sh('ifconfig -l')).rejects.toThrow('brigd is gone');
  });

  test('strikes files and starts as well, and counts them with the commands', async () => {
    const scene = new Scene();
    await prepareJail(scene, machine());
    await scene.spawn(machine());
    const acts: string[] = [];
    let first: number | undefined;
    const note = (what: string, index: number): undefined => {
      first ??= index;
      acts.push(`${index - first} ${what}`);
    };
    scene.model.onCommand = ({ program }, index) => note(program, index);
    scene.model.onEffect = (name, path, index) => note(`${name} ${path}`, index);
    await scene.ok('ifconfig -l');
    await scene.model.host.mkdir('/a', ROOT);
    await scene.model.host.writeFile('/a/b', 'text', ROOT);
    await scene.spawn(machine('web02'));
    expect(acts).toEqual([
      '0 /sbin/ifconfig',
      '1 mkdir /a',
      '2 writeFile /a/b',
      '3 mkdir /brig/exits',
      '4 mkdir /brig/vms/web02',
      '5 writeFile /brig/supervise.sh',
      '6 /usr/bin/mkfifo',
      '7 /usr/bin/mkfifo',
      '8 spawn /brig/supervise.sh',
    ]);
  });

  test.each([
    ['before', 'host.failed', undefined],
    ['after', 'host.failed', 'text'],
    ['hang', 'host.timeout', undefined],
  ] as const)('%s of a file effect is an error', async (verdict, code, left) => {
    const scene = new Scene();
    scene.model.onEffect = () => verdict;
    await expect(scene.model.host.writeFile('/a', 'text', ROOT)).rejects.toMatchObject({ code });
    expect(await scene.model.host.readFile('/a')).toBe(left);
  });
});

describe('time', () => {
  test('jumps to the earliest who sleeps, in order', async () => {
    const { host, clock } = new Scene().model;
    const start = clock.now();
    const woken: string[] = [];
    const sleeper = async (name: string, ms: number): Promise<void> => {
      await host.sleep(ms);
      woken.push(`${name} ${clock.now() - start}`);
    };
    await Promise.all([sleeper('late', 3_600_000), sleeper('a', 20), sleeper('b', 20), sleeper('early', 5)]);
    expect(woken).toEqual(['early 5', 'a 20', 'b 20', 'late 3600000']);
  });

  test('passes by what commands cost', async () => {
    const scene = new Scene({ pool: 'tank' });
    await scene.all('zfs create -s -V 64m tank/a', 'zfs snapshot tank/a@s', 'kldload vmm');
    const cost = async (line: string): Promise<number> => {
      const units = scene.model.costUnits;
      const before = scene.model.clock.now();
      await scene.ok(line);
      const tenths = Math.round((scene.model.costUnits - units) * 10);
      expect(scene.model.clock.now() - before, line).toBe(Math.round(tenths / 2));
      return tenths / 10;
    };
    const costs: Record<string, number> = {};
    for (const line of [
      'jls -d jid name',
      'ifconfig -a',
      'ifconfig tap1 create',
      'ifconfig tap1 destroy',
      'ifconfig epair1 create',
      'ifconfig epair1a destroy',
      'jail -q -i -c name=x path=/ persist vnet',
      'jail -R x',
      'zfs clone tank/a@s tank/b',
      'zfs list -Hp -o name',
      'zfs destroy tank/b',
      'mount -p',
    ])
      costs[line.split(' ').slice(0, 3).join(' ')] = await cost(line);
    expect(Object.values(costs)).toEqual([1, 2.5, 1.7, 2.5, 1.7, 3, 4, 10, 7.5, 6, 6, 1]);
    expect(scene.model.commands).toBe(15);
  });

  test('is the same for the same seed', async () => {
    const story = async (seed: number): Promise<string> => {
      const scene = new Scene({ seed });
      await prepareJail(scene, machine());
      await scene.all('ifconfig tap7 create', 'ifconfig epair7 create');
      await scene.start(machine());
      return (await scene.ok('ifconfig -a')) + (await scene.ok('ps -ax -o pid,jid,uid,stat,lstart,command'));
    };
    expect(await story(1)).toBe(await story(1));
    expect(await story(1)).not.toBe(await story(2));
  });

  test('can be the real one', async () => {
    const { host } = new Scene({ pace: 'real' }).model;
    const before = Date.now();
    await host.sleep(20);
    expect(Date.now() - before).toBeGreaterThanOrEqual(19);
    expect(Math.abs(host.now() - Date.now())).toBeLessThan(1000);
  });
});

describe('a reboot', () => {
  test('leaves files and zfs, and nothing else', async () => {
    const scene = new Scene({ pool: 'tank' });
    await scene.mkdir('/var/db/brig', '/var/run/brig/vms', '/elsewhere/run');
    await scene.file('/var/db/brig/kept', 'data');
    await scene.all('zfs create tank/brig', 'zfs create -s -V 64m -o brig:vm=web01 tank/brig/disk0');
    await scene.file('/tank/brig/file', 'data');
    const before = scene.model.state.summary(['/var/db', '/tank', '/elsewhere/run']);
    await scene.file('/elsewhere/run/lost', 'x');
    await prepareJail(scene, machine());
    await scene.all('ifconfig tap7 create', 'rctl -a jail:brig-web01:pcpu:deny=100');
    await scene.all('sysctl net.link.tap.user_open=1');
    await scene.start(machine());
    scene.model.reboot(['/elsewhere/run']);
    expect(scene.model.state.summary(['/var/db', '/tank', '/elsewhere/run'])).toEqual(before);
    expect(await scene.model.host.list('/var/run')).toEqual([]);
    expect(await scene.model.host.list('/dev/vmm')).toBeUndefined();
    expect(await scene.model.host.stat('/dev/zvol/tank/brig/disk0')).toMatchObject({ kind: 'device' });
    expect(await scene.model.host.stat('/dev/vmmctl')).toBeUndefined();
    expect(await scene.ok('sysctl -n net.link.tap.user_open')).toBe('0\n');
    expect(scene.model.guest('web01').running).toBe(false);
    await scene.model.clock.advance(1000);
    expect(await scene.exit('web01')).toBeUndefined();
  });

  test('ends a wedge', async () => {
    const scene = new Scene();
    await scene.ok('ifconfig tap7 create');
    await prepareJail(scene, machine(), ['pci.0.4.0.device=virtio-net', 'pci.0.4.0.backend=tap7']);
    await scene.start(machine());
    await scene.sh('ifconfig tap7 destroy', undefined, 100);
    scene.model.reboot();
    expect(await scene.ok('ifconfig -l')).toBe('vtnet0 lo0\n');
  });

  test('silences what was under way', async () => {
    const scene = new Scene();
    let answered = false;
    void scene.sh('jail -q -i -c name=x path=/ persist').then(() => (answered = true));
    scene.model.reboot();
    await scene.model.clock.advance(60_000);
    expect(answered).toBe(false);
    expect(await scene.ok('jls -d jid name')).toBe('');
  });

  test('keeps what loader.conf says', async () => {
    const scene = new Scene();
    scene.model.setTunable('kern.racct.enable', '0');
    scene.model.reboot();
    expect(await scene.sh('rctl')).toMatchObject({
      status: 1,
      stderr: 'rctl: RACCT/RCTL present, but disabled; enable using kern.racct.enable=1 tunable\n',
    });
  });
});
