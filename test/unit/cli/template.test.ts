import { afterEach, expect, test, vi } from 'vitest';
import type { Client } from '../../../src/api/client.ts';
import { parseCall } from '../../../src/cli/command.ts';
import { NAMES } from '../../../src/cli/complete-names.ts';
import { templateCommand } from '../../../src/cli/commands/template.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

const erp = { name: 'erp', summary: 'what \x1b[2Jruns the firm', parameters: { memory: 'a size such as 20G' } };
const elsewhere = { isElsewhere: true, templates: () => Promise.resolve([erp]) } as unknown as Client;
const here = { isElsewhere: false, templates: () => Promise.reject(new Error('asked')) } as unknown as Client;

const printed = async (client: Client, ...args: string[]): Promise<string> => {
  let text = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((chunk) => (text += String(chunk)) !== '');
  await templateCommand.run({ client, ...parseCall(templateCommand, args) });
  return text;
};

test('templates of another node are those that it tells of', async () => {
  expect(await printed(elsewhere, 'list')).toBe('TEMPLATE  WHAT\nerp       what \\x1b[2Jruns the firm\n');
  expect(JSON.parse(await printed(elsewhere, 'list', '--json'))).toEqual([
    { template: 'erp', summary: erp.summary, parameters: erp.parameters },
  ]);
  expect(await printed(elsewhere, 'show', 'erp')).toBe(
    'erp: what \\x1b[2Jruns the firm\nparameters:\n  memory  a size such as 20G\n',
  );
  await expect(printed(elsewhere, 'show', 'test')).rejects.toMatchObject({ hint: 'there are erp' });
  expect((await NAMES.template(elsewhere, [], '')).map(({ word }) => word)).toEqual(['erp']);
});

test('templates of this machine are read here', async () => {
  expect(await printed(here, 'list')).toMatch(/^test +a guest of 64 KiB/m);
  expect(await printed(here, 'show', 'test')).toMatch(/^ {2}memory +64M +a size/m);
  expect(JSON.parse(await printed(elsewhere, 'render', 'test', '--name', 'web'))).toMatchObject({ name: 'web' });
  expect((await NAMES.template(here, [], '')).map(({ word }) => word)).toContain('test');
});
