import type { Host } from '../base/host.ts';
import { BrigError } from '../base/errors.ts';
import { device, readOnly, renderCommonArgs, SETPRIV, type Bind } from './programs/bwrap.ts';
import { QEMU } from './programs/qemu.ts';
import { renderFilter } from './seccomp.ts';
import { listLibraries, parseLibraries } from './programs/system.ts';
import { SWTPM } from './tpm.ts';

/** What a QEMU without graphics and network boot loads beside its libraries; Debian has each. */
const DATA = '/usr/share/qemu/kvmvapic.bin';
const DEVICES = ['/dev/null', '/dev/zero', '/dev/random', '/dev/urandom'];

/** Debian's QEMU loads TCG as a module, from a directory named after the host's architecture. */
const findModule = async (host: Host): Promise<string[]> => {
  const names = ((await host.list('/usr/lib')) ?? []).filter((name) => name.includes('-linux-gnu'));
  const paths = names.map((name) => `/usr/lib/${name}/qemu/accel-tcg-x86_64.so`);
  const found = await Promise.all(paths.map(async (path) => ((await host.stat(path)) ? [path] : [])));
  return found.flat();
};

const existing = async (host: Host, path: string): Promise<string[]> => ((await host.stat(path)) ? [path] : []);

/**
 * Writes down what every VM's sandbox has in common: QEMU, setpriv(1), their libraries, four devices and nothing else;
 * and the filter of system calls.
 * Errors: host.missing when QEMU is not there, host.mismatch when its libraries cannot be listed.
 */
export const buildSandbox = async (
  host: Host,
  to: string,
  filter: string,
  withKvm: boolean,
): Promise<{ files: number; bytes: number; binds: readonly Bind[] }> => {
  for (const path of [QEMU, SETPRIV])
    if (!(await host.stat(path)))
      throw new BrigError('host.missing', `build ${to}: ${path} is not there`, {
        hint: 'apt-get install qemu-system-x86 util-linux',
      });
  const programs = [QEMU, SETPRIV, ...(await findModule(host))];
  const files = [...programs, ...(await findLibraries(host, to, programs)), ...(await existing(host, DATA))];
  const devices = [...DEVICES, ...(withKvm ? ['/dev/kvm'] : [])];
  const binds = [...files.map((path) => readOnly(path)), ...devices.map((path) => device(path))];
  const text = renderCommonArgs(binds);
  await host.writeFile(to, text, { mode: 0o600, uid: 0, gid: 0 });
  await host.writeFile(filter, renderFilter(), { mode: 0o600, uid: 0, gid: 0 });
  return { files: files.length, bytes: Buffer.byteLength(text), binds };
};

const findLibraries = async (host: Host, to: string, programs: readonly string[]): Promise<string[]> => {
  const listed = await host.run(listLibraries(programs));
  const libraries = parseLibraries(listed.stdout);
  if (listed.status === 0 && libraries.length > 0) return libraries;
  throw new BrigError(
    'host.mismatch',
    `build ${to}: expected ldd(1) to list libraries, got status ${listed.status}: ${listed.stderr.trim() || 'nothing'}`,
  );
};

/** What swtpm(8)'s sandbox has; undefined where it is not installed. */
export const findTpm = async (host: Host): Promise<readonly Bind[] | undefined> => {
  if (!(await host.stat(SWTPM))) return undefined;
  const programs = [SWTPM, SETPRIV];
  const files = [...programs, ...(await findLibraries(host, SWTPM, programs))];
  return [...files.map((path) => readOnly(path)), ...DEVICES.map((path) => device(path))];
};
