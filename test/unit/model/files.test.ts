import { describe, expect, test } from 'vitest';
import { Scene } from './scene.ts';

const ROOT = { mode: 0o755, uid: 0, gid: 0 };
const MINE = { mode: 0o600, uid: 20_001, gid: 20_001 };

describe('files', () => {
  test('are written with their access, atomically', async () => {
    const { host } = new Scene().model;
    await host.mkdir('/a/b', { ...ROOT, mode: 0o700 });
    await host.writeFile('/a/b/c', 'text', MINE);
    expect(await host.readFile('/a/b/c')).toBe('text');
    expect(await host.stat('/a/b/c')).toEqual({ kind: 'file', ...MINE, bytes: 4, modifiedMs: host.now() });
    expect(await host.stat('/a')).toMatchObject({ mode: 0o755 });
    expect(await host.stat('/a/b')).toMatchObject({ kind: 'directory', mode: 0o700 });
    await host.mkdir('/a/b', { ...ROOT, mode: 0o711 });
    expect(await host.stat('/a/b')).toMatchObject({ mode: 0o711 });
    expect(await host.list('/a/b')).toEqual(['c']);
  });

  test('that are absent are undefined, or removed already', async () => {
    const { host } = new Scene().model;
    expect([await host.readFile('/x'), await host.list('/x'), await host.stat('/x')]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    await host.remove('/x');
    await host.rmdir('/x');
  });

  test('are refused as node(1) refuses them', async () => {
    const { host } = new Scene().model;
    await host.writeFile('/a', 'text', ROOT);
    await host.mkdir('/d/e', ROOT);
    const refusals = [
      [host.writeFile('/x/y', '', ROOT), 'write /x/y: ENOENT: no such file or directory'],
      [host.writeFile('/d', '', ROOT), 'write /d: EISDIR: is a directory'],
      [host.copyFile('/x', '/y', ROOT), 'copy /x to /y: ENOENT: no such file or directory'],
      [host.allocate('/a', 1, ROOT), 'create /a: EEXIST: file exists'],
      [host.mkdir('/a', ROOT), 'create /a: EEXIST: file exists'],
      [host.mkdir('/a/b', ROOT), 'create /a/b: EEXIST: file exists'],
      [host.rmdir('/d'), 'remove /d: ENOTEMPTY: directory not empty'],
      [host.readFile('/d'), 'read /d: EISDIR: is a directory'],
    ] as const;
    for (const [work, message] of refusals) await expect(work).rejects.toMatchObject({ code: 'host.failed', message });
  });

  test('are sparse when allocated, and copies are their own', async () => {
    const { host } = new Scene().model;
    await host.allocate('/disk', 2 ** 30, MINE);
    await host.writeFile('/a', 'one', ROOT);
    await host.copyFile('/a', '/b', MINE);
    await host.writeFile('/a', 'two', ROOT);
    expect(await host.stat('/disk')).toMatchObject({ bytes: 2 ** 30 });
    expect(await host.readFile('/b')).toBe('one');
    expect(await host.stat('/b')).toMatchObject(MINE);
  });

  test('of a devfs come and go with their devices only', async () => {
    const { host } = new Scene().model;
    await expect(host.remove('/dev/null')).rejects.toThrow('EROFS');
    await expect(host.writeFile('/dev/new', '', ROOT)).rejects.toThrow('EROFS');
    expect(await host.stat('/dev/null')).toMatchObject({ kind: 'device', mode: 0o666 });
  });

  test('are watched by directory', async () => {
    const { host, clock } = new Scene().model;
    await host.mkdir('/exits', ROOT);
    let seen = 0;
    const watch = host.watch('/exits', () => {
      seen++;
    });
    await host.writeFile('/exits/a', '', ROOT);
    await host.writeFile('/exits/a', 'again', ROOT);
    await host.writeFile('/elsewhere', '', ROOT);
    await host.remove('/exits/a');
    await clock.advance(1);
    expect(seen).toBe(3);
    watch.close();
    await host.writeFile('/exits/b', '', ROOT);
    await clock.advance(1);
    expect(seen).toBe(3);
  });

  test('of the base system are there, for whoever builds a root', async () => {
    const scene = new Scene();
    const { host } = scene.model;
    const programs = ['/bin/sh', '/usr/sbin/bhyve', '/usr/sbin/iasl', '/usr/sbin/chroot'];
    const { stdout } = await host.run({ program: '/usr/bin/ldd', args: ['-f', '%p\\n', ...programs], timeoutMs: 1000 });
    const libraries = [...new Set(stdout.trim().split('\n'))];
    // FACTS S.1: 25 files with the runtime linker.
    expect(libraries).toHaveLength(20);
    const files = [...programs, '/libexec/ld-elf.so.1', ...libraries];
    await host.pack(
      [
        { path: '/', mode: 0o755 },
        { path: '/dev', mode: 0o755 },
        ...files.map((path) => ({ path, mode: 0o555, from: path })),
      ],
      '/base.tar.zst',
      ROOT,
    );
    expect((await host.stat('/base.tar.zst'))?.bytes).toBeGreaterThan(10 ** 6);
    await host.mkdir('/r', ROOT);
    await scene.ok('mount -t tarfs /base.tar.zst /r');
    expect(await host.list('/r')).toEqual(['bin', 'dev', 'lib', 'libexec', 'usr']);
    expect(await host.stat('/r/usr/sbin/bhyve')).toMatchObject({ kind: 'file', mode: 0o555, uid: 0 });
    await expect(host.writeFile('/r/x', '', ROOT)).rejects.toThrow('EROFS');
    await expect(host.pack([{ path: '/x', mode: 0o444, from: '/none' }], '/b', ROOT)).rejects.toThrow('ENOENT');
  });
});

describe('mounts', () => {
  test('cover what is below them until they are gone', async () => {
    const scene = new Scene();
    const { host } = scene.model;
    await scene.mkdir('/a', '/b');
    await scene.file('/a/under', 'x');
    await scene.file('/b/file', 'y');
    await scene.all('mount -t tmpfs -o size=1m,mode=1777 tmpfs /a', 'mount -t nullfs -o ro /b /mnt');
    expect(await host.list('/a')).toEqual([]);
    expect(await host.stat('/a')).toMatchObject({ mode: 0o1777 });
    await scene.file('/a/over', 'z');
    expect(await host.readFile('/mnt/file')).toBe('y');
    await expect(scene.file('/mnt/new', '')).rejects.toThrow('EROFS');
    await scene.file('/b/later', 'seen');
    expect(await host.readFile('/mnt/later')).toBe('seen');
    await scene.all('umount /a', 'umount /mnt');
    expect(await host.list('/a')).toEqual(['under']);
    expect(await host.list('/mnt')).toEqual([]);
  });

  test('of a single file cover that file', async () => {
    const scene = new Scene();
    await scene.mkdir('/isos', '/vm');
    await scene.file('/isos/a.iso', 'image');
    await scene.file('/vm/disk0.img', '');
    await scene.ok('mount -t nullfs -o ro /isos/a.iso /vm/disk0.img');
    expect(await scene.model.host.readFile('/vm/disk0.img')).toBe('image');
    await expect(scene.file('/vm/disk0.img', 'other')).rejects.toThrow('EBUSY');
  });

  test('are never emptied by a removal', async () => {
    const scene = new Scene();
    await scene.mkdir('/run/root', '/data');
    await scene.file('/data/disk', 'data');
    await scene.ok('mount -t nullfs /data /run/root');
    await expect(scene.model.host.remove('/run')).rejects.toMatchObject({
      code: 'host.failed',
      message: 'remove /run/root: something is mounted there',
    });
    expect(await scene.model.host.readFile('/data/disk')).toBe('data');
    await scene.ok('umount /run/root');
    await scene.model.host.remove('/run');
    expect(await scene.model.host.stat('/run')).toBeUndefined();
  });

  test('are busy as long as something is mounted in them, or a jail has its root there', async () => {
    const scene = new Scene();
    await scene.mkdir('/r');
    await scene.file('/base.tar', 'image');
    await scene.all('mount -t tarfs /base.tar /r', 'mount -t tmpfs tmpfs /r/tmp');
    expect(await scene.sh('umount /r')).toMatchObject({ stderr: 'umount: unmount of /r failed: Device busy\n' });
    await scene.all('umount /r/tmp', 'jail -q -i -c name=x path=/r persist');
    expect(await scene.sh('umount /r')).toMatchObject({ stderr: 'umount: unmount of /r failed: Device busy\n' });
    await scene.ok('umount -f /r');
  });

  test('need a directory', async () => {
    const scene = new Scene();
    await scene.file('/base.tar', 'image');
    for (const line of ['mount -t tmpfs tmpfs /no', 'mount -t tarfs /base.tar /no', 'mount -t devfs devfs /no'])
      expect(await scene.sh(line), line).toMatchObject({
        status: 1,
        stderr: 'mount: /no: No such file or directory\n',
      });
    expect(await scene.sh('umount /no')).toMatchObject({ status: 1 });
  });
});
