import { describe, expect, test } from 'vitest';
import { renderFilter } from '../../../src/linux/seccomp.ts';

const X86 = 0xc000_003e;
const ARM64 = 0xc000_00b7;
const RISCV64 = 0xc000_00f3;
const I386 = 0x4000_0003;

/** Runs a filter as the kernel does, for struct seccomp_data. Source: seccomp(2), bpf(4) */
const verdictOf = (arch: number, number: number, ...args: readonly bigint[]): string => {
  const program = renderFilter();
  const data = Buffer.alloc(64);
  data.writeUInt32LE(number, 0);
  data.writeUInt32LE(arch, 4);
  args.forEach((arg, i) => data.writeBigUInt64LE(arg, 16 + 8 * i));
  let accumulator = 0;
  for (let at = 0; ; at += 1) {
    const [code, jumpTrue, jumpFalse, value] = [
      program.readUInt16LE(8 * at),
      program.readUInt8(8 * at + 2),
      program.readUInt8(8 * at + 3),
      program.readUInt32LE(8 * at + 4),
    ];
    if (code === 0x06) return value === 0x7fff_0000 ? 'allowed' : `errno ${value & 0xffff}`;
    if (code === 0x20) accumulator = data.readUInt32LE(value);
    else if (code === 0x05) at += value;
    else {
      const holds = { 0x15: accumulator === value, 0x35: accumulator >= value, 0x45: (accumulator & value) !== 0 }[
        code
      ];
      expect(holds, `instruction ${code.toString(16)}`).toBeDefined();
      at += holds ? jumpTrue : jumpFalse;
    }
  }
};

const CLONE_THREAD = 0x3d0f00n;
const CLONE_NEWUSER = 0x1000_0000n;

describe('the filter of system calls', () => {
  test.each([
    ['unshare', X86, 272, 'errno 1'],
    ['unshare', ARM64, 97, 'errno 1'],
    ['unshare', RISCV64, 97, 'errno 1'],
    ['modify_ldt, the last of its list', X86, 154, 'errno 1'],
    ['vhangup, the last of the generic list', ARM64, 58, 'errno 1'],
    ['clone3, so that libc takes clone', X86, 435, 'errno 38'],
    ['clone3', ARM64, 435, 'errno 38'],
    ['read', X86, 0, 'allowed'],
    ['read', ARM64, 63, 'allowed'],
    ['execve, by which setpriv(1) becomes QEMU', X86, 59, 'allowed'],
    ['seccomp, by which QEMU adds its own', X86, 317, 'allowed'],
    ['read with 32-bit pointers', X86, 0x4000_0000, 'errno 38'],
    ['anything of 32-bit programs', I386, 3, 'errno 38'],
  ])('answers %s', (_, arch, number, verdict) => {
    expect(verdictOf(arch, number)).toBe(verdict);
  });

  test.each([
    ['x86-64', X86, 56],
    ['arm64', ARM64, 220],
  ])('lets clone make threads and processes, never namespaces: %s', (_, arch, clone) => {
    expect(verdictOf(arch, clone, CLONE_THREAD)).toBe('allowed');
    expect(verdictOf(arch, clone, 17n)).toBe('allowed');
    expect(verdictOf(arch, clone, CLONE_NEWUSER | 17n)).toBe('errno 1');
    for (const flag of [0x2_0000n, 0x200_0000n, 0x400_0000n, 0x800_0000n, 0x2000_0000n, 0x4000_0000n])
      expect(verdictOf(arch, clone, flag), flag.toString(16)).toBe('errno 1');
  });

  test.each([
    ['x86-64', X86, 41],
    ['arm64', ARM64, 198],
  ])('opens sockets of four families: %s', (_, arch, socket) => {
    const allowed = Array.from({ length: 50 }, (_, family) => family).filter(
      (family) => verdictOf(arch, socket, BigInt(family)) === 'allowed',
    );
    expect(allowed).toEqual([1, 2, 10, 16]);
    expect(verdictOf(arch, socket, 40n)).toBe('errno 97');
  });

  test.each([
    ['x86-64', X86, 41],
    ['arm64', ARM64, 198],
  ])('knows netlink for links and routes only, not for uevents or audit: %s', (_, arch, socket) => {
    const allowed = Array.from({ length: 23 }, (__, protocol) => protocol).filter(
      (protocol) => verdictOf(arch, socket, 16n, 3n, BigInt(protocol)) === 'allowed',
    );
    expect(allowed).toEqual([0]);
    expect(verdictOf(arch, socket, 2n, 2n, 17n)).toBe('allowed');
  });

  test.each([
    ['x86-64', X86, 302, 160],
    ['arm64', ARM64, 261, 164],
  ])('lets limits be read and never set, by whatever address: %s', (_, arch, prlimit64, setrlimit) => {
    expect(verdictOf(arch, setrlimit)).toBe('errno 1');
    expect(verdictOf(arch, prlimit64, 0n, 7n, 0n, 0x7ffd_0000_1000n)).toBe('allowed');
    for (const address of [0x7ffd_0000_1000n, 0x1000n, 0x1_0000_0000n])
      expect(verdictOf(arch, prlimit64, 0n, 7n, address), address.toString(16)).toBe('errno 1');
  });

  test.each([
    ['chmod', X86, 90, [0n]],
    ['fchmod', X86, 91, [0n]],
    ['fchmod', ARM64, 52, [0n]],
    ['fchmodat', X86, 268, [0n, 0n]],
    ['fchmodat', ARM64, 53, [0n, 0n]],
    ['fchmodat2', X86, 452, [0n, 0n]],
    ['fchmodat2', ARM64, 452, [0n, 0n]],
  ])('lets %s change modes, and makes no setuid program: %#', (_, arch, call, before) => {
    expect(verdictOf(arch, call, ...before, 0o755n)).toBe('allowed');
    expect([0o4755n, 0o2755n].map((mode) => verdictOf(arch, call, ...before, mode))).toEqual(['errno 1', 'errno 1']);
  });

  test.each([X86, ARM64, RISCV64])('knows no call that is newer than itself: %i', (arch) => {
    expect([453, 467, 0x4000_0000 | 272].map((call) => verdictOf(arch, call))).toEqual([
      'errno 38',
      'errno 38',
      'errno 38',
    ]);
  });
});
