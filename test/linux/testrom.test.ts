import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { buildTestRom } from '../../src/image/testrom.ts';

const QEMU = '/usr/bin/qemu-system-x86_64';
const BANNER = 'GUEST UP\r\n';
const PATIENCE_MS = 4000;

let dir = '';
const guests: Guest[] = [];

interface End {
  readonly code: number | null;
  readonly signal: string | null;
}

/** One QEMU with the ROM; never KVM. Its stdin and stdout are the guest's COM1. */
class Guest {
  output = '';
  errors = '';
  readonly ended: Promise<End>;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #startedMs = performance.now();

  constructor(machine: string, extra: readonly string[]) {
    const screen = ['-nodefaults', '-display', 'none', '-no-user-config', '-m', '64M', '-bios', join(dir, 'rom')];
    const console = ['-chardev', 'stdio,id=con,signal=off', '-serial', 'chardev:con'];
    const args = ['-machine', `${machine},accel=tcg`, ...screen, ...console, '-action', 'reboot=shutdown', ...extra];
    this.#child = spawn(QEMU, args);
    this.#child.stdout.on('data', (chunk: Buffer) => (this.output += chunk.toString('latin1')));
    this.#child.stderr.on('data', (chunk: Buffer) => (this.errors += chunk.toString('latin1')));
    this.#child.stdin.on('error', () => undefined); // it ended first
    this.ended = new Promise((resolve, reject) => {
      this.#child.once('error', reject);
      this.#child.once('close', (code, signal) => resolve({ code, signal }));
    });
    this.ended.catch(() => undefined); // whoever waits sees it
  }

  type(text: string): void {
    this.#child.stdin.write(text);
  }

  /** Milliseconds from the start of QEMU to the text. */
  async says(text: string): Promise<number> {
    const missing = (): Error =>
      new Error(`no ${JSON.stringify(text)} in ${JSON.stringify(this.output)}: ${this.errors}`);
    for (const end = performance.now() + PATIENCE_MS; !this.output.includes(text);) {
      if (performance.now() > end) throw missing();
      const over = await Promise.race([sleep(2), this.ended]);
      if (over && !this.output.includes(text)) throw missing();
    }
    return performance.now() - this.#startedMs;
  }

  async ends(): Promise<End> {
    const late = sleep(PATIENCE_MS, undefined, { ref: false }).then(() => {
      throw new Error(`still runs after ${JSON.stringify(this.output)}`);
    });
    return Promise.race([this.ended, late]);
  }

  isAlive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** CPU milliseconds that QEMU takes in the next `ms`. */
  async cpuMs(ms: number): Promise<number> {
    const used = (): number => {
      const fields = readFileSync(`/proc/${this.#child.pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? [];
      return (Number(fields[11]) + Number(fields[12])) * 10; // user and system, in ticks of 10 ms
    };
    const before = used();
    await sleep(ms);
    return used() - before;
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.ended.catch(() => undefined);
  }
}

const boot = async (machine: string, ...extra: string[]): Promise<Guest> => {
  const guest = new Guest(machine, extra);
  guests.push(guest);
  await guest.says(BANNER);
  return guest;
};

/** What QEMU listens on when it gets this; made in the test's own directory. */
const listen = (name: string): string[] => [`-${name}`, `unix:${join(dir, name)},server=on,wait=off`];

const tell = (name: string, lines: readonly string[]): void => {
  const socket = connect(join(dir, name));
  socket.on('error', () => undefined); // QEMU ends before it hangs up
  socket.on('data', () => undefined);
  socket.write(lines.map((line) => `${line}\n`).join(''));
};

const pressButton = (): void => tell('qmp', ['{"execute":"qmp_capabilities"}', '{"execute":"system_powerdown"}']);

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'brig-testrom-'));
  writeFileSync(join(dir, 'rom'), buildTestRom());
});

afterEach(async () => {
  await Promise.all(guests.splice(0).map((guest) => guest.kill()));
});

afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe.each(['q35', 'pc'])('the test ROM on QEMU %s', (machine) => {
  test('is up in well under a second and echoes', async () => {
    const guest = new Guest(machine, []);
    guests.push(guest);
    expect(await guest.says(BANNER)).toBeLessThan(1000);
    guest.type('abc 0189 ~\n');
    await guest.says('~\n');
    expect(guest.output).toBe(`${BANNER}abc 0189 ~\n`);
  });

  test('loses nothing: neither what was typed before it was up nor a flood', async () => {
    // No key among it.
    const guest = new Guest(machine, []);
    guests.push(guest);
    const flood = '0123456789ABCDEF'.repeat(256);
    guest.type(`soon${flood}$`);
    await guest.says('$');
    expect(guest.output).toBe(`${BANNER}soon${flood}$`);
  });

  test('q powers off', async () => {
    const guest = await boot(machine);
    guest.type('q');
    expect(await guest.ends()).toEqual({ code: 0, signal: null });
    expect(guest.output).toBe(`${BANNER}OFF\r\n`);
  });

  test('r resets', async () => {
    const guest = await boot(machine, '-d', 'cpu_reset');
    guest.type('r');
    expect(await guest.ends()).toEqual({ code: 0, signal: null });
    expect(guest.output).toBe(`${BANNER}RESET\r\n`);
    expect(guest.errors).not.toContain('Triple fault');
  });

  test('t ends in a triple fault', async () => {
    const guest = await boot(machine, '-d', 'cpu_reset');
    guest.type('t');
    expect(await guest.ends()).toEqual({ code: 0, signal: null });
    expect(guest.output).toBe(`${BANNER}FAULT\r\n`);
    expect(guest.errors).toContain('Triple fault');
  });

  test('the power button powers off', async () => {
    const guest = await boot(machine, ...listen('qmp'));
    pressButton();
    expect(await guest.ends()).toEqual({ code: 0, signal: null });
    expect(guest.output).toBe(`${BANNER}BUTTON\r\nOFF\r\n`);
  });

  test('idles without a CPU, and h halts it for good', async () => {
    const guest = await boot(machine, ...listen('qmp'));
    expect(await guest.cpuMs(700)).toBeLessThan(150);
    guest.type('h');
    await guest.says('HALT\r\n');
    guest.type('aq');
    pressButton();
    expect(await guest.cpuMs(700)).toBeLessThan(150);
    expect(guest.output).toBe(`${BANNER}HALT\r\n`);
    expect(guest.isAlive()).toBe(true);
  });

  test('is up again after a reset', async () => {
    const guest = await boot(machine, '-action', 'reboot=reset');
    guest.type('r');
    await guest.says(`RESET\r\n${BANNER}`);
    guest.type('again!');
    await guest.says('again!');
    guest.type('q');
    expect(await guest.ends()).toEqual({ code: 0, signal: null });
  });
});

/**
 * bhyve cannot run here, so a machine without a chipset that the ROM knows stands in for it, with other devices at
 * bhyve's ports: one that swallows 0xb2, a serial port whose registers 0 and 1 are the PM1 status, and one at the
 * PM1 control that ends QEMU with status 1. QEMU traces each write to a port with its value and its width.
 */
describe('the test ROM on a stand-in for bhyve', () => {
  const DEVICES = [
    ...['-chardev', 'null,id=a', '-device', 'isa-debugcon,iobase=0xb2,chardev=a'],
    ...['-chardev', 'null,id=b', '-device', 'isa-serial,iobase=0x400,irq=5,chardev=b'],
    ...['-device', 'isa-debug-exit,iobase=0x404,iosize=2', '-trace', 'memory_region_ops_write'],
  ];

  const writesOf = (guest: Guest): string[] =>
    [...guest.errors.matchAll(/ cpu 0 .*addr (0x\w+) value (0x\w+) size (\d)/g)]
      .filter(([, port]) => port !== '0x3f8')
      .map(([, port, value, bytes]) => `${port} ${value} ${bytes}`);

  /** The serial port, two looks for QEMU's chipsets, ACPI on; and nothing else. */
  const BOOT = [
    ...['0x3fb 0x80 1', '0x3f9 0x0 1', '0x3fb 0x3 1', '0x3f9 0x0 1', '0x3fc 0x3 1'],
    ...['0xcf8 0x8000f800 4', '0xcf8 0x80000b00 4', '0xb2 0xa0 1'],
  ];

  test('echoes, and q powers off', async () => {
    const guest = await boot('pc,acpi=off', ...DEVICES);
    guest.type('abc');
    await guest.says('abc');
    guest.type('q');
    expect(await guest.ends()).toEqual({ code: 1, signal: null });
    expect(guest.output).toBe(`${BANNER}abcOFF\r\n`);
    expect(writesOf(guest)).toEqual([...BOOT, '0x404 0x3400 2']);
  });

  test('the power button powers off', async () => {
    const guest = await boot('pc,acpi=off', ...DEVICES, ...listen('qtest'), '-qtest-log', 'none');
    tell('qtest', ['outb 0x401 0x1']); // bit 8 of the word at 0x400
    expect(await guest.ends()).toEqual({ code: 1, signal: null });
    expect(guest.output).toBe(`${BANNER}BUTTON\r\nOFF\r\n`);
    // The stand-in takes the word that clears the bit as two bytes.
    expect(writesOf(guest)).toEqual([...BOOT, '0x400 0x0 1', '0x401 0x1 1', '0x404 0x3400 2']);
  });

  test('r resets', async () => {
    const guest = await boot('pc,acpi=off', ...DEVICES);
    guest.type('r');
    expect(await guest.ends()).toEqual({ code: 0, signal: null });
    expect(writesOf(guest)).toEqual([...BOOT, '0xcf9 0x6 1']);
  });

  test('t ends in a triple fault', async () => {
    const guest = await boot('pc,acpi=off', ...DEVICES, '-d', 'cpu_reset');
    guest.type('t');
    expect(await guest.ends()).toEqual({ code: 0, signal: null });
    expect(guest.errors).toContain('Triple fault');
    expect(writesOf(guest)).toEqual(BOOT);
  });

  test('h halts with interrupts off', async () => {
    const guest = await boot('pc,acpi=off', ...DEVICES);
    guest.type('h');
    await guest.says('HALT\r\n');
    expect(await guest.cpuMs(500)).toBeLessThan(150);
    expect(writesOf(guest)).toEqual(BOOT);
  });
});
