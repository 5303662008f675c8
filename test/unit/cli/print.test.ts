import { afterEach, expect, test, vi } from 'vitest';
import type { Client } from '../../../src/api/client.ts';
import { parseCall, type CliCommand } from '../../../src/cli/command.ts';
import { auditLogCommand } from '../../../src/cli/commands/audit-log.ts';
import { hostCommands } from '../../../src/cli/commands/host.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

test.each<[string, CliCommand]>([
  ['events', hostCommands.events],
  ['audit-log', auditLogCommand],
])('%s asks for no more than is read', async (_, command) => {
  const asked: number[] = [];
  const rows = async function* () {
    for (let seq = 1; seq <= 3; seq++) {
      asked.push(seq);
      yield await Promise.resolve({ seq, atMs: 0, kind: 'x', cause: 'x', who: 'root', verb: 'GET', data: {} });
    }
  };
  const client = { events: rows, auditLog: rows } as unknown as Client;
  const write = vi.spyOn(process.stdout, 'write').mockReturnValue(false);
  const ended = command.run({ client, ...parseCall(command, ['--json']) });
  for (const count of [1, 2, 3]) {
    await vi.waitFor(() => expect(write).toHaveBeenCalledTimes(count));
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(asked).toHaveLength(count);
    process.stdout.emit('drain');
  }
  await ended;
});
