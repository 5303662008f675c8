import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Access, FileStat, Host } from '../../../src/base/host.ts';
import { realHost } from '../../../src/io/host.ts';

/** A program's answer by its path; the arguments are the fixture's business. */
export type Answers = Readonly<Record<string, string>>;

/** Whoever runs the tests stands for root. */
const mine = (access: Access): Access => ({
  ...access,
  uid: process.getuid?.() ?? 0,
  gid: process.getgid?.() ?? 0,
});
const rootOf = (stat: FileStat | undefined): FileStat | undefined =>
  stat && stat.uid === process.getuid?.() ? { ...stat, uid: 0, gid: 0 } : stat;

/** Real files below a directory, as if it were `/`; programs only answer. Randomness is a counter. */
export const rootedHost = (root: string, answers: Answers): Host => {
  const at = (path: string): string => join(root, path);
  let next = 1;
  return {
    ...realHost,
    run: ({ program }) =>
      Promise.resolve({
        status: program in answers ? 0 : 1,
        stdout: answers[program] ?? '',
        stderr: program in answers ? '' : 'no answer',
        timedOut: false,
      }),
    readFile: (path) => realHost.readFile(at(path)),
    list: (path) => realHost.list(at(path)),
    stat: async (path) => rootOf(await realHost.stat(at(path))),
    writeFile: (path, content, access) => realHost.writeFile(at(path), content, mine(access)),
    copyFile: (from, to, access, growTo) => realHost.copyFile(at(from), at(to), mine(access), growTo),
    identity: (path) => realHost.identity(at(path)),
    digest: (path) => realHost.digest(at(path)),
    head: (path, bytes) => realHost.head(at(path), bytes),
    readArchive: (path) => realHost.readArchive(at(path)),
    pack: (entries, to, access) =>
      realHost.pack(
        entries.map((entry) => (entry.from === undefined ? entry : { ...entry, from: at(entry.from) })),
        at(to),
        mine(access),
      ),
    mkdir: (path, access) => realHost.mkdir(at(path), mine(access)),
    remove: (path) => realHost.remove(at(path)),
    random: (bytes) => Uint8Array.from({ length: bytes }, () => next++ & 0xff),
  };
};

/** What a person with an editor does, whatever the file's mode. */
export class Hands {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  read(path: string): Buffer {
    return readFileSync(join(this.#root, path));
  }

  write(path: string, content: string | Uint8Array, mode = 0o644): void {
    const file = join(this.#root, path);
    mkdirSync(dirname(file), { recursive: true });
    rmSync(file, { force: true });
    writeFileSync(file, content);
    chmodSync(file, mode);
  }

  chmod(path: string, mode: number): void {
    chmodSync(join(this.#root, path), mode);
  }

  remove(path: string): void {
    rmSync(join(this.#root, path));
  }
}

/** `\x7fELF`, 64 bits, little-endian, FreeBSD; the machine at byte 18. Source: elf(5) */
export const elfHeader = (machine = 62): Buffer => {
  const header = Buffer.alloc(20);
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 9]);
  header.writeUInt16LE(machine, 18);
  return header;
};

/** Bytes that do not compress, so that a changed byte of an archive is a changed byte of a file. */
export const noise = (seed: number, bytes: number): Buffer => {
  let state = seed >>> 0;
  return Buffer.from(
    Array.from({ length: bytes }, () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return state >>> 24;
    }),
  );
};
