import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { renderSyslog } from '../../../src/acl/audit-log.ts';
import { chain, NOTHING } from '../../../src/acl/chain.ts';
import { Syslog, type SyslogOptions } from '../../../src/io/syslog.ts';

let dir: string;
let out: string;
let syslog: Syslog | undefined;
let dropped: number[];
beforeEach(() => {
  dir = mkdtempSync('/tmp/brig-syslog-');
  out = join(dir, 'out');
  dropped = [];
});
afterEach(() => {
  syslog?.close();
  rmSync(dir, { recursive: true });
});

/** A program in the place of logger(1), which gets the file to write to. */
const start = (script: string, override: Partial<SyslogOptions> = {}): Syslog =>
  (syslog = new Syslog({
    onDropped: (count) => dropped.push(count),
    program: '/bin/sh',
    args: ['-c', script, 'logger', out],
    againMs: 5,
    ...override,
  }));
const said = (): string => (existsSync(out) ? readFileSync(out, 'utf8') : '');

describe('syslog', () => {
  test('gets each line as it comes', async () => {
    const log = start('exec cat >>"$1"');
    log.write('one');
    await vi.waitFor(() => expect(said()).toBe('one\n'));
    log.write('two');
    await vi.waitFor(() => expect(said()).toBe('one\ntwo\n'));
  });

  test('goes on with a new logger when one ends', async () => {
    const log = start('head -n 1 >>"$1"');
    const count = (): number => said().split('\n').length - 1;
    for (let i = 1; i <= 3; i++)
      await vi.waitFor(() => {
        // What a logger had not read when it ended is lost with it.
        log.write(`line ${i}`);
        expect(count()).toBeGreaterThanOrEqual(i);
      }, 5000);
  });

  test('that takes nothing costs a bounded queue; what was dropped is told when it goes on', async () => {
    const go = join(dir, 'go');
    const log = start(`while [ ! -e ${go} ]; do sleep 0.05; done; exec cat >>"$1"`);
    await new Promise((resolve) => setImmediate(resolve));
    for (let i = 0; i < 5000; i++) {
      log.write(`${i} ${'x'.repeat(900)}`);
      if (i % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(dropped).toEqual([]);
    writeFileSync(go, '');
    await vi.waitFor(() => expect(dropped).toHaveLength(1), 5000);
    await vi.waitFor(() => expect(said().split('\n').length - 1).toBe(5000 - (dropped[0] ?? 0)), 5000);
    expect(dropped[0]).toBeGreaterThan(3000);
  });

  test('that is not there is no error', async () => {
    const log = start('', { program: '/nonexistent/logger' });
    for (let i = 0; i < 1001; i++) log.write('x');
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(dropped).toEqual([]);
  });

  test('has lines of at most a kilobyte, number and hash first', async () => {
    const long = 'x'.repeat(10_000);
    const said1 = {
      who: 'user:alice',
      from: 'unix',
      verb: 'GET /vms',
      object: '\n\u001b\u00e9',
      phase: 'told',
    } as const;
    const { entry } = chain(NOTHING, { ...said1, decision: 'allow', rule: long, saga: long }, 1);
    const line = renderSyslog(entry);
    expect(line).toMatch(/^seq=1 hash="[0-9a-f]{64}" who="user:alice" from="unix" object="\\n\\u001b\?" phase="told" /);
    expect(line).toHaveLength(1000);
    const log = start('exec cat >>"$1"');
    log.write(long);
    await vi.waitFor(() => expect(said()).toHaveLength(1001));
  });
});
