/**
 * The guest that brig tests with: a 64 KiB boot ROM of 16-bit real-mode code, assembled here.
 * It prints `GUEST UP`, then echoes every byte that COM1 receives, and powers off at the ACPI power button.
 * Keys:    q power off, r reset, h halt, t triple fault.
 * Machine: bhyve, QEMU q35 and QEMU pc. What has no chipset of QEMU's is taken for bhyve.
 * Source:  bhyve's pm.c and uart_emul.c; QEMU's hw/acpi/core.c, hw/isa/lpc_ich9.c and hw/acpi/piix4.c.
 */
export const buildTestRom = (): Buffer => (built ??= build());

let built: Buffer | undefined;

const build = (): Buffer => {
  const upToVector = padded([...padded([], CODE_AT), ...program()], RESET_VECTOR);
  return assemble(padded([...upToVector, ...jmp('start')], ROM_SIZE));
};

const ROM_SIZE = 0x10000;

/** Where the CPU starts: 16 bytes below 4 GiB, which is where the ROM ends. */
const RESET_VECTOR = 0xfff0;

/** The program is near the vector, so that no jump wraps around the end of the segment. */
const CODE_AT = 0xf000;

// ---- The assembler: an instruction is a list of bytes, in which a place stands for its 16-bit address. ----

type Item =
  | number
  /** Names the place where it stands; takes no room. */
  | { readonly label: string }
  /** How far the place is from the next instruction; only ever the last item of an instruction. */
  | { readonly distanceTo: string }
  /** How far the place is from the start of the ROM. */
  | { readonly offsetOf: string };

type Code = readonly Item[];

const sizeOf = (item: Item): number => (typeof item === 'number' ? 1 : 'label' in item ? 0 : 2);

const sizeOfAll = (code: Code): number => code.reduce<number>((sum, item) => sum + sizeOf(item), 0);

/** Filled with hlt: a jump that went astray stops there. */
const padded = (code: Code, size: number): Code => {
  const room = size - sizeOfAll(code);
  if (room < 0) throw new RangeError(`the test ROM has ${-room} bytes too many before ${size}`);
  return [...code, ...Array.from({ length: room }, () => HLT).flat()];
};

const placesOf = (code: Code): ReadonlyMap<string, number> => {
  const places = new Map<string, number>();
  let at = 0;
  for (const item of code) {
    if (typeof item === 'object' && 'label' in item) {
      if (places.has(item.label)) throw new Error(`the test ROM has two places called ${item.label}`);
      places.set(item.label, at);
    }
    at += sizeOf(item);
  }
  return places;
};

const assemble = (code: Code): Buffer => {
  const places = placesOf(code);
  const placeOf = (name: string): number => {
    const place = places.get(name);
    if (place === undefined) throw new Error(`the test ROM has no place called ${name}`);
    return place;
  };
  const rom = Buffer.alloc(sizeOfAll(code));
  let at = 0;
  for (const item of code) {
    if (typeof item === 'number') rom.writeUInt8(item, at);
    else if ('distanceTo' in item) rom.writeInt16LE(placeOf(item.distanceTo) - (at + 2), at);
    else if ('offsetOf' in item) rom.writeUInt16LE(placeOf(item.offsetOf), at);
    at += sizeOf(item);
  }
  return rom;
};

// ---- The instructions. 0x66 before one makes it 32 bits wide, 0x2e makes it read from the ROM's segment. ----

const word = (value: number): Code => [value & 0xff, (value >>> 8) & 0xff];
const dword = (value: number): Code => [...word(value), ...word(value >>> 16)];
const label = (name: string): Code => [{ label: name }];

const jmp = (to: string): Code => [0xe9, { distanceTo: to }];
const jumpIfZero = (to: string): Code => [0x0f, 0x84, { distanceTo: to }];
const jumpIfNotZero = (to: string): Code => [0x0f, 0x85, { distanceTo: to }];
/** Loads the segment register too. */
const jmpFar = (segment: number, to: string): Code => [0xea, { offsetOf: to }, ...word(segment)];
/** jmp to itself. */
const SPIN: Code = [0xeb, 0xfe];

const movAl = (value: number): Code => [0xb0, value];
const movAx = (value: number): Code => [0xb8, ...word(value)];
const movEax = (value: number): Code => [0x66, 0xb8, ...dword(value)];
const movDx = (value: number): Code => [0xba, ...word(value)];
const movSp = (value: number): Code => [0xbc, ...word(value)];
const MOV_BL_AL: Code = [0x88, 0xc3];
const MOV_AL_BL: Code = [0x88, 0xd8];
const movBx = (value: number): Code => [0xbb, ...word(value)];
const MOV_DS_BX: Code = [0x8e, 0xdb];
const MOV_SS_AX: Code = [0x8e, 0xd0];
const MOV_DS_AX: Code = [0x8e, 0xd8];
/** mov word [address], value */
const store = (address: number, value: Code): Code => [0xc7, 0x06, ...word(address), ...value];
/** mov dword [address], value with a 32-bit address: 0x67 before it makes it so. */
const storeHigh = (address: number, value: number): Code => [
  0x67,
  0x66,
  0xc7,
  0x05,
  ...dword(address),
  ...dword(value),
];

const MOV_EAX_CR0: Code = [0x0f, 0x20, 0xc0];
const MOV_CR0_EAX: Code = [0x0f, 0x22, 0xc0];
const orAl = (bits: number): Code => [0x0c, bits];
const andAl = (bits: number): Code => [0x24, bits];

const cmpAl = (value: number): Code => [0x3c, value];
const cmpEax = (value: number): Code => [0x66, 0x3d, ...dword(value)];
const testAl = (bits: number): Code => [0xa8, bits];
const testAx = (bits: number): Code => [0xa9, ...word(bits)];

const IN_AL_DX: Code = [0xec];
const inb = (port: number): Code => [...movDx(port), ...IN_AL_DX];
const inw = (port: number): Code => [...movDx(port), 0xed];
const ind = (port: number): Code => [...movDx(port), 0x66, 0xed];
const outAl = (port: number): Code => [...movDx(port), 0xee];
const outb = (port: number, value: number): Code => [...movAl(value), ...outAl(port)];
const outw = (port: number, value: number): Code => [...movAx(value), ...movDx(port), 0xef];
const outd = (port: number, value: number): Code => [...movEax(value), ...movDx(port), 0x66, 0xef];

const CLI: Code = [0xfa];
const STI: Code = [0xfb];
const HLT: Code = [0xf4];
const IRET: Code = [0xcf];
/** Reserved for ever to be no instruction. */
const UD2: Code = [0x0f, 0x0b];
const lgdt = (table: string): Code => [0x2e, 0x0f, 0x01, 0x16, { offsetOf: table }];
const lidt = (table: string): Code => [0x2e, 0x0f, 0x01, 0x1e, { offsetOf: table }];

// ---- The serial port. Its FIFOs stay off: switching them on makes bhyve drop what was typed before the boot. ----

const COM1 = { data: 0x3f8, interrupts: 0x3f9, lineControl: 0x3fb, modemControl: 0x3fc, lineStatus: 0x3fd };
const RECEIVED = 0x01;
const CAN_SEND = 0x20;

/** 115200 baud 8n1, no interrupts; DTR and RTS up. */
const initSerial = (): Code => [
  ...outb(COM1.lineControl, 0x80), // the next two bytes are the divisor of 115200 baud
  ...outb(COM1.data, 1),
  ...outb(COM1.interrupts, 0),
  ...outb(COM1.lineControl, 0x03),
  ...outb(COM1.interrupts, 0),
  ...outb(COM1.modemControl, 0x03),
];

/** in al, dx; test al, CAN_SEND; jz back over these 5 bytes */
const awaitCanSend = (): Code => [...movDx(COM1.lineStatus), ...IN_AL_DX, ...testAl(CAN_SEND), 0x74, 0x100 - 5];

/** Unrolled, so that it needs neither a stack nor data. */
const print = (text: string): Code =>
  [...Buffer.from(text)].flatMap((byte) => [...awaitCanSend(), ...outb(COM1.data, byte)]);

// ---- The machines. ----

const POWER_BUTTON = 0x0100;

interface Machine {
  readonly name: string;
  /** The ports of ACPI's PM1 block. */
  readonly pm1: { readonly status: number; readonly enable: number; readonly control: number };
  /** SLP_EN and this machine's SLP_TYP for S5. */
  readonly powerOff: number;
  /** What to do between two polls; runs with interrupts off and leaves them off. */
  readonly idle: Code;
}

/** Polls without a pause: whether an interrupt would end a hlt here is not tried. */
const BHYVE: Machine = {
  name: 'bhyve',
  pm1: { status: 0x400, enable: 0x402, control: 0x404 },
  powerOff: 0x3400,
  idle: [],
};

/** sti lets no interrupt in before the hlt, so one that came since the poll still ends the hlt. */
const QEMU: Machine = {
  name: 'qemu',
  pm1: { status: 0x600, enable: 0x602, control: 0x604 },
  powerOff: 0x2000,
  idle: [...STI, ...HLT, ...CLI],
};

/** Where QEMU's chipset keeps what a firmware would have set: the port of PM1, and whether it answers there. */
interface Chipset {
  readonly device: number;
  readonly fn: number;
  /** Device and vendor. */
  readonly id: number;
  readonly pmBase: number;
  readonly enable: { readonly register: number; readonly value: number };
}

const ICH9: Chipset = {
  device: 31,
  fn: 0,
  id: 0x2918_8086,
  pmBase: 0x40,
  enable: { register: 0x44, value: 0x80 },
};
const PIIX4: Chipset = {
  device: 1,
  fn: 3,
  id: 0x7113_8086,
  pmBase: 0x40,
  enable: { register: 0x80, value: 0x01 },
};

const PCI = { address: 0xcf8, data: 0xcfc };

const pciSelect = (chipset: Chipset, register: number): Code =>
  outd(PCI.address, 0x8000_0000 + (chipset.device << 11) + (chipset.fn << 8) + register);

const jumpIfPresent = (chipset: Chipset, to: string): Code => [
  ...pciSelect(chipset, 0),
  ...ind(PCI.data),
  ...cmpEax(chipset.id),
  ...jumpIfZero(to),
];

const mapPm1 = (chipset: Chipset): Code => [
  ...pciSelect(chipset, chipset.pmBase),
  ...outd(PCI.data, QEMU.pm1.status | 1), // bit 0: a port, not memory
  ...pciSelect(chipset, chipset.enable.register),
  ...outb(PCI.data, chipset.enable.value),
];

const APIC = { spurious: 0xfee0_00f0, lint0: 0xfee0_0350 };
const PROTECTED = 0x01;

/**
 * The local APIC holds the PIC's interrupts back until a firmware says otherwise, and real mode cannot reach it.
 * A segment loaded in protected mode keeps its limit of 4 GiB in real mode, so DS goes there for a moment.
 */
const passInterruptsOfPic = (): Code => [
  ...lgdt('segments'),
  ...MOV_EAX_CR0,
  ...orAl(PROTECTED),
  ...MOV_CR0_EAX,
  ...movBx(8), // the second descriptor
  ...MOV_DS_BX,
  ...andAl(0xff & ~PROTECTED),
  ...MOV_CR0_EAX,
  ...storeHigh(APIC.spurious, 0x1ff), // the APIC on; while it is off it keeps LINT0 masked
  ...storeHigh(APIC.lint0, 0x700), // ExtINT: what the PIC says
];

const segments = (): Code => [
  ...label('segments'), // limit, address
  ...word(2 * 8 - 1),
  { offsetOf: 'descriptors' },
  ...word(ROM_SEGMENT >>> 12),
  ...label('descriptors'),
  ...dword(0),
  ...dword(0),
  ...dword(0x0000_ffff), // data, writable, from 0 to 4 GiB
  ...dword(0x00cf_9300),
];

const PIC = { command: 0x20, data: 0x21 };
const PIT = { channel0: 0x40, mode: 0x43 };
const FIRST_VECTOR = 0x20;
/** Where QEMU shows the ROM a second time, in reach of an interrupt vector; bhyve has RAM there. */
const ROM_SEGMENT = 0xf000;

/** The timer and COM1 end a hlt: COM1 so that echo is prompt, the timer so that the button is seen. */
const initInterrupts = (): Code => [
  ...movAx(0),
  ...MOV_DS_AX,
  ...MOV_SS_AX,
  ...movSp(0x7c00),
  ...[0, 1, 2, 3, 4, 5, 6, 7].flatMap((irq) => [
    ...store(4 * (FIRST_VECTOR + irq), [{ offsetOf: 'wake' }]),
    ...store(4 * (FIRST_VECTOR + irq) + 2, word(ROM_SEGMENT)),
  ]),
  ...outb(PIC.command, 0x11), // initialise: four bytes follow
  ...outb(PIC.data, FIRST_VECTOR),
  ...outb(PIC.data, 0x04), // the second PIC is at 2
  ...outb(PIC.data, 0x03), // acknowledges by itself, so iret is the whole handler
  ...outb(PIC.data, 0xff & ~(1 << 0) & ~(1 << 4)), // timer and COM1
  ...outb(PIT.mode, 0x34), // channel 0, both bytes, rate generator
  ...outb(PIT.channel0, 0), // 65536, the longest: 18.2 Hz
  ...outb(PIT.channel0, 0),
  ...outb(COM1.interrupts, 0x01), // on receive
  ...outb(COM1.modemControl, 0x0b), // OUT2 connects the interrupt
];

// ---- The program. ----

const key = (name: string, to: string): Code => [...cmpAl(name.charCodeAt(0)), ...jumpIfZero(to)];

/** The banner comes last of all preparations: whoever saw it may press the button. */
const serve = (machine: Machine): Code => {
  const at = (place: string): string => `${machine.name} ${place}`;
  return [
    ...print('GUEST UP\r\n'),
    ...label(at('poll')),
    ...inw(machine.pm1.status), // first, so that no flood of input hides the button
    ...testAx(POWER_BUTTON),
    ...jumpIfNotZero(at('button')),
    ...inb(COM1.lineStatus),
    ...testAl(RECEIVED),
    ...jumpIfNotZero(at('received')),
    ...machine.idle,
    ...jmp(at('poll')),

    ...label(at('received')),
    ...inb(COM1.data),
    ...key('q', at('power off')),
    ...key('r', 'reset'),
    ...key('h', 'halt'),
    ...key('t', 'triple fault'),
    ...MOV_BL_AL,
    ...awaitCanSend(),
    ...MOV_AL_BL,
    ...outAl(COM1.data),
    ...jmp(at('poll')),

    ...label(at('button')),
    ...outw(machine.pm1.status, POWER_BUTTON), // writing the bit clears it
    ...print('BUTTON\r\n'),
    ...label(at('power off')),
    ...print('OFF\r\n'),
    ...outw(machine.pm1.control, machine.powerOff),
    ...SPIN,
  ];
};

const ends = (): Code => [
  ...label('reset'),
  ...print('RESET\r\n'),
  ...outb(0xcf9, 0x06),
  ...SPIN,

  ...label('halt'),
  ...print('HALT\r\n'),
  ...label('halted'),
  ...CLI,
  ...HLT,
  ...jmp('halted'),

  ...label('triple fault'),
  ...print('FAULT\r\n'),
  ...lidt('no interrupt table'),
  ...UD2, // no handler for it, none for that fault, and none for the double fault

  ...label('no interrupt table'), // limit 0, base 0
  ...word(0),
  ...dword(0),
];

const program = (): Code => [
  ...label('start'),
  ...CLI,
  ...initSerial(),
  ...jumpIfPresent(ICH9, 'q35'),
  ...jumpIfPresent(PIIX4, 'pc'),

  ...outb(0xb2, 0xa0), // ACPI on: from here bhyve takes SIGTERM for the power button
  ...serve(BHYVE),

  ...label('q35'),
  ...mapPm1(ICH9),
  ...jmp('qemu'),
  ...label('pc'),
  ...mapPm1(PIIX4),
  ...label('qemu'),
  ...outw(QEMU.pm1.enable, POWER_BUTTON), // else QEMU never sets the status
  ...passInterruptsOfPic(),
  ...initInterrupts(),
  ...jmpFar(ROM_SEGMENT, 'serve qemu'),
  ...label('wake'),
  ...IRET,
  ...label('serve qemu'),
  ...serve(QEMU),

  ...ends(),
  ...segments(),
];
