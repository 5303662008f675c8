import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { chain, NOTHING, type AuditEntry, type NewEntry } from '../../../src/acl/chain.ts';
import type { AuditReport } from '../../../src/acl/audit-log.ts';
import type { Client } from '../../../src/api/client.ts';
import { parseCall } from '../../../src/cli/command.ts';
import { auditLogCommand, renderEntry } from '../../../src/cli/commands/audit-log.ts';

afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
});

const made = (override: Partial<NewEntry> = {}) =>
  chain(
    NOTHING,
    {
      ...{ who: 'user:alice', from: 'unix', verb: 'POST /vms/{name}/start', object: 'vm:web', phase: 'end' },
      ...{ decision: 'allow', rule: 'owner of vm:web', result: 'ok', saga: 's1', of: 7, ...override },
    },
    0,
  );

/** Runs it against a brigd that answers so; what it asked for, and what it printed. */
const run = async (args: readonly string[], entries: readonly AuditEntry[] = [], report?: AuditReport) => {
  const asked: unknown[] = [];
  const printed: string[] = [];
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => printed.push(String(text)) > 0);
  const client = {
    auditLog: (options: unknown) => (asked.push(options), entries),
    verifyAuditLog: (head?: string) => (asked.push(head), Promise.resolve(report)),
  };
  await auditLogCommand.run({ client: client as unknown as Client, ...parseCall(auditLogCommand, args) });
  return { asked, printed: printed.join('') };
};

test('asks for what its options say', async () => {
  const args = ['-f', '--after', '5', '--limit', '9', '--who', 'key:laptop', '--vm', 'web'];
  const asked = { after: 5, limit: 9, who: 'key:laptop', object: 'vm:web', follow: true };
  expect((await run(args)).asked).toEqual([asked]);
  expect((await run([])).asked).toEqual([{ follow: false }]);
  await expect(run(['--after', 'x'])).rejects.toMatchObject({ code: 'usage.invalid' });
  await expect(run(['prove'])).rejects.toMatchObject({ code: 'usage.invalid' });
});

test.each([
  ['alice', 'user:alice'],
  ['user:alice', 'user:alice'],
  ['key:laptop', 'key:laptop'],
  ['root', 'root'],
  ['brigd', 'brigd'],
])('--who %s is %s', async (who, principal) => {
  expect((await run(['--who', who])).asked).toEqual([{ who: principal, follow: false }]);
});

test.each([
  [['--head', 'a'], 'expected --head with verify only, got it without'],
  [['verify', '--who', 'alice'], 'expected --who without verify, got it with it'],
  [['verify', '-f'], 'expected --follow without verify, got it with it'],
  [['verify', '--after', '1', 'audit.log.1'], 'expected --after without verify, got it with it'],
])('%j is refused: %s', async (args, reason) => {
  await expect(run(args)).rejects.toMatchObject({ code: 'usage.invalid', message: `read arguments: ${reason}` });
});

test('prints one line for each entry', async () => {
  const { entry, line } = made({ data: { cpus: 2 } });
  expect((await run([], [entry])).printed).toBe(
    '1970-01-01T00:00:00.000Z 1 user:alice from unix: POST /vms/{name}/start vm:web end allow (owner of vm:web) ok saga=s1 of=7 cpus=2\n',
  );
  expect((await run(['--json'], [entry])).printed).toBe(`${line}\n`);
});

test('shows nothing that acts on a terminal, or on whoever reads lines', () => {
  const bad = 'a\u001b[2J\n\u009b1m\u202eb c';
  const { entry } = made({
    ...{ who: bad, from: bad, verb: bad, object: bad, rule: bad, result: bad, saga: bad, data: { [bad]: bad } },
  });
  expect(renderEntry(entry)).toMatch(/^[ -~]+$/);
});

test('verify says that it is good, in one line', async () => {
  const head = { seq: 9, hash: 'a'.repeat(64) };
  const good = { ok: true, files: 2, entries: 5, first: 5, torn: 1, head } as const;
  const { printed, asked } = await run(['verify', '--head', head.hash], [], good);
  expect(printed).toBe(
    `good: 5 entries, 5 to 9, in 2 files, older ones are not here, 1 torn and told; head ${head.hash}\n`,
  );
  expect([asked, process.exitCode]).toEqual([[head.hash], undefined]);
});

test('verify names the first broken entry and its file, and its exit status is 1', async () => {
  const broken = { ok: false, seq: 4, file: '/var/db/brig/audit/audit.log', why: 'expected entry 4, got 5' } as const;
  const { printed } = await run(['verify'], [], broken);
  expect(printed).toBe('broken at entry 4, in /var/db/brig/audit/audit.log: expected entry 4, got 5\n');
  expect(process.exitCode).toBe(1);
  expect(JSON.parse((await run(['verify', '--json'], [], broken)).printed)).toEqual(broken);
});

test('verify reads files that were moved away without brigd', async () => {
  const dir = mkdtempSync('/tmp/brig-audit-cli-');
  const path = join(dir, 'audit.log.1');
  writeFileSync(path, `${made().line}\n`);
  const { printed, asked } = await run(['verify', path]);
  expect(printed).toMatch(/^good: 1 entries, 1 to 1, in 1 files; head [0-9a-f]{64}\n$/);
  expect(asked).toEqual([]);
  writeFileSync(path, `${made().line.replace('alice', 'carol')}\n`);
  expect((await run(['verify', path])).printed).toMatch(/^broken at entry 1, in /);
  rmSync(dir, { recursive: true });
});
