/** ELFCLASS64 aside: e_machine and what uname(1) and sysctl(8) call it. Source: elf(5), sys/elf_common.h. */
const MACHINES: Readonly<Record<number, Arch>> = { 3: 'i386', 62: 'amd64', 183: 'aarch64', 243: 'riscv64' };

export type Arch = 'amd64' | 'i386' | 'aarch64' | 'riscv64';

/** How much of a program says what it is for. Units: bytes. */
export const ELF_HEADER_BYTES = 20;

/** The architecture that a program is for; undefined when it is no ELF file of one that we know. */
export const archOfProgram = (header: Uint8Array): Arch | undefined => {
  const isElf =
    header.length >= ELF_HEADER_BYTES && Buffer.from(header.subarray(0, 4)).toString('latin1') === '\x7fELF';
  const isLittleEndian = header[5] === 1;
  return isElf && isLittleEndian ? MACHINES[(header[18] ?? 0) + 256 * (header[19] ?? 0)] : undefined;
};

/** Names of the same thing on Linux. Source: uname(2). */
const SAME: Readonly<Record<string, string>> = { x86_64: 'amd64', i686: 'i386', arm64: 'aarch64' };

/** What a host calls itself, in the words of a manifest. */
export const archOfHost = (name: string): string => SAME[name] ?? name;
