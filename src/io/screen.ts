import { spawn } from 'node:child_process';
import { closeSync, constants, fstatSync, lstatSync, openSync, type Stats } from 'node:fs';
import { connect } from 'node:net';
import { basename, dirname } from 'node:path';
import { Duplex } from 'node:stream';
import { BrigError, messageOf } from '../base/errors.ts';
import { ENV } from './exec.ts';

/** A socket in a directory that its owner may write: he can put a link there at any moment, to any socket of root's. */
interface Place {
  readonly path: string;
  readonly uid: number;
}

const check = ({ path, uid }: Place, found: Stats): void => {
  if (found.isSocket() && found.uid === uid) return;
  const got = found.isSocket() ? `one of uid ${found.uid}` : 'no socket';
  throw new BrigError('host.mismatch', `connect ${path}: expected a socket of uid ${uid}, got ${got}`);
};

const failed = ({ path }: Place, cause: unknown): BrigError => {
  if (cause instanceof BrigError) return cause;
  const code = (cause as NodeJS.ErrnoException).code;
  const reason = code === 'ENOENT' ? 'nobody listens there' : messageOf(cause);
  return new BrigError(code === 'ENOENT' ? 'host.missing' : 'host.failed', `connect ${path}: ${reason}`, { cause });
};

/** Source: open(2) of Linux. */
const O_PATH = 0o10000000;

/** Checks the file that is opened, and connects to that one, whatever is at its path by then. Linux only. */
export const connectByDescriptor = (place: Place): Promise<Duplex> =>
  new Promise((resolve, reject) => {
    let fd: number | undefined;
    const fail = (error: unknown): void => {
      if (fd !== undefined) closeSync(fd);
      reject(failed(place, error));
    };
    try {
      fd = openSync(place.path, O_PATH | constants.O_NOFOLLOW);
      check(place, fstatSync(fd));
      const opened = fd;
      const socket = connect(`/proc/self/fd/${opened}`);
      socket.once('error', fail);
      socket.once('connect', () => {
        socket.off('error', fail);
        closeSync(opened);
        resolve(socket);
      });
    } catch (error) {
      fail(error);
    }
  });

/** Source: nc(1) of FreeBSD. */
const NC = ['/usr/bin/nc', '-U'] as const;

/**
 * Lets nc(1) connect as the owner, from the socket's directory: a link leads it only to where he gets himself.
 * libuv changes the directory before it changes the user.
 */
export const connectAsOwner = (place: Place, relay: readonly [string, ...string[]] = NC): Promise<Duplex> =>
  new Promise((resolve, reject) => {
    const { path, uid } = place;
    try {
      // For a clear word; what protects is the uid.
      check(place, lstatSync(path));
      const [program, ...args] = relay;
      const child = spawn(program, [...args, basename(path)], {
        cwd: dirname(path),
        uid,
        gid: uid,
        env: ENV,
        stdio: ['pipe', 'pipe', 'ignore'],
      });
      child.once('error', (error) => reject(failed(place, error)));
      child.once('spawn', () => {
        const stream = Duplex.from({ writable: child.stdin, readable: child.stdout });
        child.once('exit', () => stream.end());
        stream.once('close', () => child.kill('SIGKILL'));
        resolve(stream);
      });
    } catch (error) {
      reject(failed(place, error));
    }
  });

/** The way that fits this kind of host. Errors: host.mismatch, host.missing, host.failed. */
export const connectScreen = (screen: Place & { readonly reach: 'descriptor' | 'owner' }): Promise<Duplex> =>
  screen.reach === 'descriptor' ? connectByDescriptor(screen) : connectAsOwner(screen);
