import { describe, expect, test } from 'vitest';
import { renderFilter } from '../../../src/linux/seccomp.ts';

const X86 = 0xc000_003e;
const ARM64 = 0xc000_00b7;
const RISCV64 = 0xc000_00f3;
const I386 = 0x4000_0003;

/** Runs a filter as the kernel does, for struct seccomp_data. Source: seccomp(2), bpf(4) */
const verdictOf = (arch: number, number: number, first = 0): string => {
  const program = renderFilter();
  const data: Readonly<Record<number, number>> = { 0: number, 4: arch, 16: first };
  let accumulator = 0;
  for (let at = 0; ; at += 1) {
    const [code, jumpTrue, jumpFalse, value] = [
      program.readUInt16LE(8 * at),
      program.readUInt8(8 * at + 2),
      program.readUInt8(8 * at + 3),
      program.readUInt32LE(8 * at + 4),
    ];
    if (code === 0x06) return value === 0x7fff_0000 ? 'allowed' : `errno ${value & 0xffff}`;
    if (code === 0x20) accumulator = data[value] ?? Number.NaN;
    else {
      const holds = { 0x15: accumulator === value, 0x35: accumulator >= value, 0x45: (accumulator & value) !== 0 }[
        code
      ];
      expect(holds, `instruction ${code.toString(16)}`).toBeDefined();
      at += holds ? jumpTrue : jumpFalse;
    }
  }
};

const CLONE_THREAD = 0x3d0f00;
const CLONE_NEWUSER = 0x1000_0000;

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
    expect(verdictOf(arch, clone, 17)).toBe('allowed');
    expect(verdictOf(arch, clone, CLONE_NEWUSER | 17)).toBe('errno 1');
    for (const flag of [0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x2000_0000, 0x4000_0000])
      expect(verdictOf(arch, clone, flag), flag.toString(16)).toBe('errno 1');
  });

  test.each([
    ['x86-64', X86, 41],
    ['arm64', ARM64, 198],
  ])('opens sockets of four families: %s', (_, arch, socket) => {
    const allowed = Array.from({ length: 50 }, (_, family) => family).filter(
      (family) => verdictOf(arch, socket, family) === 'allowed',
    );
    expect(allowed).toEqual([1, 2, 10, 16]);
    expect(verdictOf(arch, socket, 40)).toBe('errno 97');
  });
});
