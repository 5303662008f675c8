/**
 * The port between brig and a host: effects as data, and the few primitives that perform them.
 * freebsd and linux hosts are real (room io); the model is a FreeBSD in memory (room model).
 */

import type { SecretRef } from './secret.ts';

/** One program run: absolute path, argv without the program, no shell anywhere. */
export interface Command {
  readonly program: string;
  readonly args: readonly string[];
  readonly stdin?: string;
  readonly timeoutMs: number;
}

/** How a command ended. `status` is 128 + n when signal n ended it, as in sh(1). */
export interface Result {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly timedOut: boolean;
}

/** An answer that counts as success although the status is not 0: "absent" for an undo. */
export interface Tolerance {
  readonly status: number;
  /** Substring of stderr; omitted: any. */
  readonly stderr?: string;
}

/** Mode, owner and group of a file that brig makes. */
export interface Access {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** A loss of power leaves the old file or the new one, never half of one. */
  readonly durable?: boolean;
}

/** When a probe is satisfied: its exit status, or what its stdout matches or lacks. */
export type Until = { readonly status: number } | { readonly matches: string } | { readonly lacks: string };

/** What a step does to the host. `brig plan` prints these; `saga/perform` runs them. */
export type Effect =
  | {
      readonly do: 'run';
      readonly command: Command;
      readonly tolerate?: readonly Tolerance[];
      /** stdout that must come back, byte for byte. */
      readonly expect?: string;
      /** Answers that are retried until `retryMs` has passed. */
      readonly retry?: { readonly on: Tolerance; readonly forMs: number };
    }
  | {
      readonly do: 'write';
      readonly path: string;
      readonly text: string;
      readonly access: Access;
      /** What `text` is of bytes that are no text. */
      readonly encoding?: 'base64';
      /** No plan and no error shows it. */
      readonly isSecret?: true;
      /** Values that go into their places in `text` as it is written; plans and journals hold the places. */
      readonly secrets?: readonly SecretRef[];
    }
  | {
      readonly do: 'copy';
      readonly from: string;
      readonly to: string;
      readonly access: Access;
      /** An existing target is left as it is. */
      readonly keep?: boolean;
      /** A source that is absent is passed over. */
      readonly ifThere?: boolean;
      /** Size of the copy in bytes; a larger source is refused. */
      readonly growTo?: number;
    }
  | { readonly do: 'allocate'; readonly path: string; readonly bytes: number; readonly access: Access }
  /** A file that is there becomes this large; a larger one is refused. */
  | { readonly do: 'grow'; readonly path: string; readonly bytes: number }
  | { readonly do: 'mkdir'; readonly path: string; readonly access: Access }
  | { readonly do: 'remove'; readonly path: string }
  | { readonly do: 'rmdir'; readonly path: string }
  /** Text into a file of the kernel's, such as a cgroup's limit: written in place, never made. */
  | { readonly do: 'set'; readonly path: string; readonly text: string }
  /** Text into a FIFO that somebody holds open; nobody there is success. */
  | { readonly do: 'say'; readonly path: string; readonly text: string }
  /** A process of its own session that outlives brigd. */
  | { readonly do: 'spawn'; readonly command: Command }
  | Await
  /** Waits until nothing is at the path. */
  | { readonly do: 'absent'; readonly path: string; readonly timeoutMs: number }
  /** Ask ever harder until the probe says gone. */
  | {
      readonly do: 'escalate';
      readonly gone: { readonly probe: Probe; readonly until: Until };
      readonly stages: readonly Stage[];
    };

/** What is looked at: a command's answer, or a file's text (status 1 while it is absent), which costs no process. */
export type Probe = Command | { readonly read: string };

/** Looks until the probe is satisfied; what did not come in time is an error. */
export interface Await {
  readonly do: 'await';
  /** What is waited for, for people. */
  readonly what: string;
  readonly probe: Probe;
  readonly until: Until;
  readonly timeoutMs: number;
  /** A file whose appearance means that it will never come. */
  readonly unless?: string;
  /** A file whose last bytes say why. */
  readonly quote?: string;
}

export interface Stage {
  readonly name: string;
  readonly effect: Effect;
  readonly waitMs: number;
}

export interface FileStat {
  readonly kind: 'file' | 'directory' | 'fifo' | 'device' | 'socket' | 'other';
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly bytes: number;
  /** Last change of the content, milliseconds since the epoch. */
  readonly modifiedMs: number;
}

/** What a file is made of, links followed. */
export interface FileDigest {
  /** Hexadecimal. */
  readonly sha256: string;
  readonly bytes: number;
  readonly mode: number;
}

/** One entry of an archive as it was read: a file, or a directory. */
export interface ArchiveEntry {
  /** As it was packed; a name that `pack` would not write stays as it is. */
  readonly path: string;
  readonly kind: 'file' | 'directory' | 'other';
  readonly mode: number;
  readonly bytes: number;
  /** Hexadecimal; of nothing for a directory. */
  readonly sha256: string;
}

export interface ArchiveListing {
  /** In order. */
  readonly entries: readonly ArchiveEntry[];
  /** Why nothing after these could be read; absent: it was read to its end. */
  readonly trouble?: string;
}

/** One entry of an archive: a file taken from the host, or a directory. Owned by root. */
export interface PackEntry {
  /** Absolute path in the archive; `/` is its root. */
  readonly path: string;
  readonly mode: number;
  /** File on the host; absent for a directory. */
  readonly from?: string;
}

/** The bytes of a disk, in a file or a volume. Of a volume, places and lengths are multiples of its blocks. */
export interface DiskPort {
  /** Fills the buffer, and answers how far: less than all of it only at the end. */
  readonly read: (at: number, buffer: Buffer) => Promise<number>;
  readonly write: (at: number, data: Uint8Array) => Promise<void>;
  /** Of a file. */
  readonly resize: (bytes: number) => Promise<void>;
  /** Durable when it resolves. */
  readonly sync: () => Promise<void>;
  readonly close: () => Promise<void>;
}

/** Both ends of a VM's serial console. */
export interface ConsolePort {
  onData(listener: (chunk: Buffer) => void): void;
  onClose(listener: () => void): void;
  /** False: the guest does not read; what more is to come waits for `onDrain`. */
  write(chunk: Buffer): boolean;
  onDrain(listener: () => void): void;
  /** Nothing is read any more: once its FIFO is full QEMU waits, and bhyve drops what its guest says. */
  pause(): void;
  resume(): void;
  /** What was said and not read yet: the last words of a guest that is gone. */
  rest(): Buffer;
  close(): void;
}

export interface Host {
  run(command: Command): Promise<Result>;
  /** A program of somebody else's, as a user, with all that it starts until its time is over. Never rejects. */
  runAs(command: Command, as: { readonly uid: number; readonly gid: number }): Promise<Result>;
  /** Starts a process in a session of its own; resolves once it exists. */
  spawn(command: Command): Promise<void>;
  /** Undefined when absent. */
  readFile(path: string): Promise<string | undefined>;
  list(path: string): Promise<string[] | undefined>;
  stat(path: string): Promise<FileStat | undefined>;
  /** Where a symbolic link leads, one of /proc's too. Undefined when absent. */
  readLink(path: string): Promise<string | undefined>;
  /** Atomic: a reader sees the old text or the new. */
  writeFile(path: string, content: string | Uint8Array, access: Access): Promise<void>;
  /** Atomic; `growTo` bytes large when given, a larger source is refused. */
  copyFile(from: string, to: string, access: Access, growTo?: number): Promise<void>;
  /** A sparse file of this size; refuses an existing one. */
  allocate(path: string, bytes: number, access: Access): Promise<void>;
  /**
   * Differs when the file at the end of the links is another or was changed: no need to read it again otherwise.
   * Undefined when absent, or changed so lately that a further change would not show.
   */
  identity(path: string): Promise<string | undefined>;
  /** Read piece by piece; undefined when absent. */
  digest(path: string): Promise<FileDigest | undefined>;
  /** The first bytes of a file, fewer when it is shorter; undefined when absent. */
  head(path: string, bytes: number): Promise<Uint8Array | undefined>;
  /** What is in an archive that `pack` made. Errors: host.failed when it is not there. */
  readArchive(path: string): Promise<ArchiveListing>;
  /** A zstd-compressed tar with a frame per entry; the same entries give the same bytes. Atomic. */
  pack(entries: readonly PackEntry[], to: string, access: Access): Promise<void>;
  /** Parents too; present is success, access is set either way. */
  mkdir(path: string, access: Access): Promise<void>;
  /** A file or a whole directory that brig made; absent is success. Never crosses a mount point. */
  remove(path: string): Promise<void>;
  /** An empty directory; absent is success. */
  rmdir(path: string): Promise<void>;
  /** A disk that is there; links are not followed. */
  openDisk(path: string, mode: 'read' | 'write'): Promise<DiskPort>;
  /** To a name that is free in the same file system; durable when it resolves. */
  rename(from: string, to: string): Promise<void>;
  /** In place; absent is an error. */
  set(path: string, text: string): Promise<void>;
  say(path: string, text: string): Promise<void>;
  console(inPath: string, outPath: string): Promise<ConsolePort>;
  /** Calls back when an entry of the directory changes. */
  watch(directory: string, onChange: () => void): { close(): void };
  /** Whether a TCP port answers, asked once; an address that does not answer is no. */
  connects(address: string, port: number): Promise<boolean>;
  sleep(ms: number): Promise<void>;
  now(): number;
  /** Unpredictable bytes, for keys. */
  random(bytes: number): Uint8Array;
}
