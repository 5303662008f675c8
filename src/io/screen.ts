import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { closeSync, constants, fstatSync, lstatSync, openSync, type Stats } from 'node:fs';
import { connect } from 'node:net';
import { basename, dirname } from 'node:path';
import { Duplex, type Readable, type Writable } from 'node:stream';
import { BrigError, messageOf } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
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

const deserted = ({ path }: Place, cause?: unknown): BrigError =>
  new BrigError('host.missing', `connect ${path}: nobody listens there`, { cause });

const failed = (place: Place, cause: unknown): BrigError => {
  if (cause instanceof BrigError) return cause;
  const { code } = cause as NodeJS.ErrnoException;
  if (code === 'ENOENT' || code === 'ECONNREFUSED') return deserted(place, cause);
  return new BrigError('host.failed', `connect ${place.path}: ${messageOf(cause)}`, { cause });
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

type Child = ChildProcessByStdio<Writable, Readable, null>;
type Relay = readonly [string, ...string[]];

/** libuv changes the directory before it changes the user. */
const spawnRelay = ({ path, uid }: Place, [program, ...args]: Relay): Child =>
  spawn(program, [...args, basename(path)], {
    cwd: dirname(path),
    uid,
    gid: uid,
    env: ENV,
    stdio: ['pipe', 'pipe', 'ignore'],
  });

const streamOf = (child: Child): Duplex => {
  const stream = Duplex.from({ writable: child.stdin, readable: child.stdout });
  child.once('exit', () => stream.end());
  stream.once('close', () => child.kill('SIGKILL'));
  return stream;
};

const missing = ({ path }: Place, program: string, cause: unknown): BrigError =>
  new BrigError('host.missing', `connect ${path}: expected ${program}, got no such program`, {
    cause,
    hint: 'it is part of the base system of FreeBSD',
  });

const silent = ({ path }: Place): BrigError =>
  new BrigError(
    'host.timeout',
    `connect ${path}: expected its greeting within ${LIMITS.screenGreetingMs / 1000} s, got nothing`,
    { retry: 'later' },
  );

/** VNC servers speak first: what comes is a screen's; an end before it is nc(1)'s, which found nobody. */
const greeted = (place: Place, child: Child, [program]: Relay): Promise<void> =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(silent(place)), LIMITS.screenGreetingMs).unref();
    child.once('error', (error: NodeJS.ErrnoException) =>
      reject(error.code === 'ENOENT' ? missing(place, program, error) : error),
    );
    child.stdout.once('readable', () => {
      clearTimeout(timer);
      if (child.stdout.readableLength > 0) resolve();
      else reject(deserted(place));
    });
  });

/**
 * Lets nc(1) connect as the owner, from the socket's directory: a link leads it only to where he gets himself.
 * Resolves when the screen has greeted.
 */
export const connectAsOwner = async (place: Place, relay: Relay = NC): Promise<Duplex> => {
  let child: Child | undefined;
  try {
    // For a clear word; what protects is the uid.
    check(place, lstatSync(place.path));
    child = spawnRelay(place, relay);
    await greeted(place, child, relay);
    return streamOf(child);
  } catch (error) {
    child?.kill('SIGKILL');
    throw failed(place, error);
  }
};

/** The way that fits this kind of host. Errors: host.mismatch, host.missing, host.timeout, host.failed. */
export const connectScreen = (screen: Place & { readonly reach: 'descriptor' | 'owner' }): Promise<Duplex> =>
  screen.reach === 'descriptor' ? connectByDescriptor(screen) : connectAsOwner(screen);
