import { describe, expect, test } from 'vitest';
import { machine, prepareJail, Scene } from './scene.ts';

const DIR = '/brig/vms/web01';

const running = async (): Promise<Scene> => {
  const scene = new Scene();
  await prepareJail(scene, machine());
  await scene.start(machine());
  return scene;
};

const supervisor = (scene: Scene) =>
  scene.model.state.processes.find((process) => process.command.startsWith('/bin/sh /brig/supervise.sh'));

describe('a guest', () => {
  test.each([
    ['powers off', 'q', 1],
    ['halts', 'h', 2],
    ['triple-faults', 't', 3],
  ])('that %s ends its supervisor with its status', async (_, key, status) => {
    const scene = await running();
    scene.model.guest('web01').type(key);
    await scene.model.clock.advance(20);
    expect(await scene.exit('web01')).toBe(`r1 ${status} ${Math.floor(scene.model.clock.now() / 1000)}\n`);
    expect(supervisor(scene)).toBeUndefined();
    expect(scene.model.guest('web01')).toMatchObject({ running: false, pid: undefined });
    expect(await scene.model.host.list('/dev/vmm')).toEqual(['web01']);
  });

  test('that resets runs again in the same jail, as another process', async () => {
    const scene = await running();
    const before = scene.model.guest('web01').pid;
    scene.model.guest('web01').type('r');
    await scene.model.clock.advance(200);
    expect(scene.model.guest('web01').running).toBe(true);
    expect(scene.model.guest('web01').pid).not.toBe(before);
    expect(scene.model.guest('web01').output).toBe('GUEST UP\r\nGUEST UP\r\n');
    expect(await scene.model.host.readFile('/brig/exits/web01.resets')).toMatch(/^r1 1 \d+\n$/);
    expect(await scene.exit('web01')).toBeUndefined();
  });

  test('that resets all the time is given up', async () => {
    const scene = await running();
    for (let i = 0; i < 4; i++) {
      scene.model.guest('web01').type('r');
      await scene.model.clock.advance(200);
    }
    expect(await scene.model.host.readFile('/brig/exits/web01.resets')).toMatch(/^r1 3 /);
    expect(await scene.exit('web01')).toMatch(/^r1 0 /);
  });

  test('that resets now and then runs for ever', async () => {
    const scene = await running();
    for (let i = 0; i < 6; i++) {
      scene.model.guest('web01').type('r');
      await scene.model.clock.advance(30_000);
    }
    expect(scene.model.guest('web01').running).toBe(true);
    expect(await scene.model.host.readFile('/brig/exits/web01.resets')).toMatch(/^r1 6 /);
  });

  test('that resets while it is being stopped has ended', async () => {
    const scene = await running();
    await scene.file(`${DIR}/stop`, '');
    scene.model.guest('web01').type('r');
    await scene.model.clock.advance(200);
    expect(await scene.exit('web01')).toMatch(/^r1 0 /);
    expect(scene.model.guest('web01').running).toBe(false);
  });

  test('powers off when its button is pressed, unless it does not care', async () => {
    const scene = await running();
    const guest = scene.model.guest('web01');
    guest.ignoreAcpi = true;
    await scene.ok(`kill -TERM ${guest.pid ?? 0}`);
    await scene.model.clock.advance(10_000);
    expect(guest.running).toBe(true);
    guest.ignoreAcpi = false;
    await scene.ok(`kill -TERM ${guest.pid ?? 0}`);
    await scene.model.clock.advance(40);
    expect(guest.running).toBe(true);
    await scene.model.clock.advance(20);
    expect(await scene.exit('web01')).toMatch(/^r1 1 /);
  });

  test('dies of SIGTERM before it listens to its button', async () => {
    const scene = new Scene();
    await prepareJail(scene, machine());
    await scene.spawn(machine());
    await scene.model.clock.advance(20);
    const process = scene.model.state.processes.find((each) => each.jid !== 0);
    expect(process?.stat).toBe('SJ');
    await scene.ok(`kill -TERM ${process?.pid ?? 0}`);
    await scene.model.clock.advance(20);
    expect(await scene.exit('web01')).toMatch(/^r1 143 /);
  });

  test('crashes when a test says so', async () => {
    const scene = await running();
    scene.model.guest('web01').crash(6);
    await scene.model.clock.advance(20);
    expect(await scene.exit('web01')).toMatch(/^r1 134 /);
    expect(() => scene.model.guest('web01').crash(6)).toThrow('the guest does not run');
  });

  test('ends with an error when its machine is destroyed under it', async () => {
    const scene = await running();
    await scene.ok('bhyvectl --vm=web01 --destroy');
    await scene.model.clock.advance(20);
    expect(await scene.exit('web01')).toMatch(/^r1 4 /);
    expect(await scene.model.host.readFile(`${DIR}/err`)).toContain('vm_run error -1, errno 6\n');
  });

  test('is switched off and reset from the host', async () => {
    const scene = await running();
    await scene.ok('bhyvectl --vm=web01 --force-reset');
    await scene.model.clock.advance(200);
    expect(scene.model.guest('web01').running).toBe(true);
    await scene.ok('bhyvectl --vm=web01 --force-poweroff');
    await scene.model.clock.advance(20);
    expect(await scene.exit('web01')).toMatch(/^r1 1 /);
    expect(await scene.sh('bhyvectl --vm=web01 --force-poweroff')).toMatchObject({
      status: 255,
      stdout: 'errno = 37\n',
    });
  });
});

describe('a supervisor', () => {
  test('is a process that people see', async () => {
    const scene = await running();
    const { stdout } = await scene.sh('ps --libxo=json -ax -o pid,ppid,jid,jail,user,stat,rss,lstart,command');
    const [init, shell, bhyve] = (
      JSON.parse(stdout) as { 'process-information': { process: Record<string, string>[] } }
    )['process-information'].process;
    expect(init).toMatchObject({ pid: '1', ppid: '0', 'jail-id': '0', 'jail-name': '-', user: 'root' });
    expect(shell?.command).toMatch(
      /^\/bin\/sh \/brig\/supervise.sh bhyve web01 .* -- \/usr\/sbin\/jexec -l brig-web01 /,
    );
    expect(shell?.ppid).toBe('1');
    expect(bhyve).toMatchObject({
      ppid: shell?.pid,
      'jail-name': 'brig-web01',
      user: '20001',
      state: 'SCJ',
      command: 'bhyve: web01 (bhyve)',
    });
  });

  test('passes SIGTERM on and stays to write down the end', async () => {
    const scene = await running();
    await scene.ok(`kill -TERM ${supervisor(scene)?.pid ?? 0}`);
    expect(supervisor(scene)).toBeDefined();
    await scene.model.clock.advance(100);
    expect(await scene.exit('web01')).toMatch(/^r1 1 /);
  });

  test('that is killed leaves its bhyve to init, and nobody learns the end', async () => {
    const scene = await running();
    await scene.ok(`kill -KILL ${supervisor(scene)?.pid ?? 0}`);
    const guest = scene.model.guest('web01');
    expect(scene.model.state.processes.find((process) => process.pid === guest.pid)?.ppid).toBe(1);
    guest.type('q');
    await scene.model.clock.advance(100);
    expect(guest.running).toBe(false);
    expect(await scene.exit('web01')).toBeUndefined();
  });

  test('writes 71 when there are no FIFOs', async () => {
    const scene = new Scene();
    await prepareJail(scene, machine());
    await scene.mkdir('/brig/vms/other');
    await scene.spawn(machine());
    for (const name of ['con.in', 'con.out']) await scene.model.host.remove(`${DIR}/${name}`);
    await scene.model.clock.advance(100);
    expect(scene.model.guest('web01').running).toBe(true);
    scene.model.guest('web01').type('r');
    await scene.model.clock.advance(100);
    expect(await scene.exit('web01')).toMatch(/^r1 71 /);
  });

  test('does nothing when its script is not there, and nobody hears of it', async () => {
    const scene = await running();
    await scene.model.host.remove('/brig/supervise.sh');
    const line = '/nowhere/supervise.sh bhyve x /x /brig/exits r1 3 60 -- /usr/sbin/jexec -l x /usr/sbin/bhyve x';
    await scene.model.host.spawn({ program: '/bin/sh', args: line.split(' '), timeoutMs: 1000 });
    await scene.model.clock.advance(100);
    expect(await scene.exit('x')).toBeUndefined();
    expect(scene.model.state.log).toContain('sh: cannot open /nowhere/supervise.sh: No such file or directory');
  });

  test('keeps stderr of the running process only', async () => {
    const scene = await running();
    expect(await scene.model.host.readFile(`${DIR}/err`)).toMatch(/^\/tmp\/bhyve\.\w{7} {5}85:/);
    scene.model.guest('web01').type('q');
    await scene.model.clock.advance(100);
    await scene.model.host.writeFile(`${DIR}/vm/bhyve.conf`, 'cpus=0\n', { mode: 0o600, uid: 20_001, gid: 20_001 });
    await scene.spawn(machine(), 'r2');
    await scene.model.clock.advance(100);
    expect(await scene.model.host.readFile(`${DIR}/err`)).toBe("bhyve: Invalid value for cpus: '0'\n");
  });

  test('names a jail that is not there', async () => {
    const scene = await running();
    const other = { ...machine('web02'), dir: '/brig/vms/web02', jail: 'nope' };
    await scene.spawn(other);
    await scene.model.clock.advance(50);
    expect(await scene.exit('web02')).toMatch(/^r1 1 /);
    expect(await scene.model.host.readFile('/brig/vms/web02/err')).toBe('jexec: jail "nope" not found\n');
  });
});

describe('a console', () => {
  const attach = async (scene: Scene) => {
    const port = await scene.model.host.console(`${DIR}/con.in`, `${DIR}/con.out`);
    const heard: string[] = [];
    port.onData((chunk) => void heard.push(chunk.toString()));
    return { port, heard };
  };

  test('has what the guest said before anybody listened', async () => {
    const scene = await running();
    const { heard } = await attach(scene);
    await scene.model.clock.advance(1);
    expect(heard.join('')).toBe('GUEST UP\r\n');
  });

  test('reaches the guest, which echoes', async () => {
    const scene = await running();
    const { port, heard } = await attach(scene);
    port.write(Buffer.from('xyz'));
    await scene.model.clock.advance(1);
    expect(heard.join('')).toBe('GUEST UP\r\nxyz');
    port.write(Buffer.from('q'));
    await scene.model.clock.advance(20);
    expect(await scene.exit('web01')).toMatch(/^r1 1 /);
  });

  test('outlives a reset', async () => {
    const scene = await running();
    const { port, heard } = await attach(scene);
    port.write(Buffer.from('r'));
    await scene.model.clock.advance(200);
    expect(heard.join('')).toBe('GUEST UP\r\nGUEST UP\r\n');
  });

  test('is silent once it is closed, and says so', async () => {
    const scene = await running();
    const { port, heard } = await attach(scene);
    let closed = 0;
    port.onClose(() => {
      closed++;
    });
    port.close();
    port.close();
    scene.model.guest('web01').type('x');
    await scene.model.clock.advance(1);
    expect({ closed, heard }).toEqual({ closed: 1, heard: ['GUEST UP\r\n'] });
  });

  test('is not there without FIFOs', async () => {
    const scene = new Scene();
    await expect(scene.model.host.console('/a', '/b')).rejects.toMatchObject({ code: 'host.missing' });
  });

  test('is spoken to only while somebody holds it open', async () => {
    const scene = await running();
    await scene.model.host.say(`${DIR}/con.in`, 'ab');
    expect(scene.model.guest('web01').output).toBe('GUEST UP\r\nab');
    await scene.ok('mkfifo -m 0600 /fifo');
    await scene.model.host.say('/fifo', 'lost');
    await scene.model.host.say('/nothing', 'lost');
  });
});
