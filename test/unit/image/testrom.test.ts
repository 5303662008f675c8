import { describe, expect, test } from 'vitest';
import { buildTestRom } from '../../../src/image/testrom.ts';

const HLT = 0xf4;

/** Every byte that the ROM sends to COM1: mov al, byte; mov dx, 0x3f8; out dx, al. */
const sent = (rom: Buffer): string =>
  [...rom.toString('latin1').matchAll(/\xb0([^])\xba\xf8\x03\xee/g)].map((match) => match[1]).join('');

const count = (rom: Buffer, hex: string): number =>
  rom.toString('latin1').split(Buffer.from(hex.replaceAll(' ', ''), 'hex').toString('latin1')).length - 1;

describe('the test ROM', () => {
  const rom = buildTestRom();

  test('fills the 64 KiB below 4 GiB and is the same every time', () => {
    expect(rom.length).toBe(65536);
    expect(buildTestRom().equals(rom)).toBe(true);
  });

  test('starts at the reset vector with a jump back to its first instruction, cli', () => {
    expect(rom[0xfff0]).toBe(0xe9);
    const target = 0xfff3 + rom.readInt16LE(0xfff1);
    expect(target).toBe(0xf000);
    expect(rom[target]).toBe(0xfa);
  });

  test('is hlt wherever it is no program', () => {
    expect(rom.subarray(0, 0xf000).every((byte) => byte === HLT)).toBe(true);
    expect(rom.subarray(0xfff3).every((byte) => byte === HLT)).toBe(true);
    expect(rom.subarray(0xf800, 0xfff0).every((byte) => byte === HLT)).toBe(true);
  });

  test('says what it does, on each machine', () => {
    // The first byte is the divisor of 115200 baud.
    const perMachine = 'GUEST UP\r\nBUTTON\r\nOFF\r\n';
    expect(sent(rom)).toBe(`\x01${perMachine}${perMachine}RESET\r\nHALT\r\nFAULT\r\n`);
  });

  // Encoded by hand from bhyve's pm.c, so that the assembler does not vouch for itself.
  test.each([
    ['ACPI on', 'b0 a0 ba b2 00 ee', 1],
    ['power button read', 'ba 00 04 ed a9 00 01', 1],
    ['power button cleared', 'b8 00 01 ba 00 04 ef', 1],
    ['power off', 'b8 00 34 ba 04 04 ef eb fe', 1],
    ['reset', 'b0 06 ba f9 0c ee eb fe', 1],
    ['halt', 'fa f4 e9 fb ff', 1],
    ['keys', '3c 71 0f 84', 2],
  ])('takes the port and the width that bhyve knows: %s', (_, hex, times) => {
    expect(count(rom, hex)).toBe(times);
  });

  test('has no use of RAM, stack or interrupts before QEMU is recognised', () => {
    const bhyve = rom.subarray(0xf000, rom.indexOf(Buffer.from('b80034ba0404efebfe', 'hex')));
    expect(bhyve.length).toBeGreaterThan(0x100);
    // lgdt, lidt; mov to memory; sti; mov sp
    for (const hex of ['2e0f01', 'c706', 'c705', 'fbf4', 'bc007c'])
      expect(bhyve.includes(hex, 0, 'hex'), hex).toBe(false);
  });
});
