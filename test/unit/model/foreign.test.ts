import { writeFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { foreignSession } from './foreign.ts';
import { replay } from './replay.ts';

let dir = '';
beforeEach(() => (dir = mkdtempSync(`${tmpdir()}/brig-foreign-`)));
afterEach(() => rmSync(dir, { recursive: true }));

const differing = async (...commands: readonly (readonly [string, string, number])[]): Promise<string[]> => {
  const path = `${dir}/a.txt`;
  writeFileSync(path, commands.map(([command, said, status]) => `$ ${command}\n${said}[exit ${status}]\n`).join('\n'));
  const { compared } = await replay(foreignSession(path));
  expect(compared).toHaveLength(commands.length);
  return compared.filter(({ got, wanted }) => got !== wanted).map(({ command }) => command);
};

test('a recording that nobody wrote a session for has what its commands take for granted', async () => {
  expect(
    await differing(
      ['ifconfig tap7 create', '', 0],
      ['ifconfig tap7 create', 'ifconfig: SIOCIFCREATE2 (tap7): File exists\n', 1],
      ['jail -q -i -c name=a path=/jails/a persist vnet', '4\n', 0],
      ['mount -t nullfs -o ro /src /dst', '', 0],
      ['umount /dst', '', 0],
      ['zfs create tank/x', '', 0],
      ['zfs create tank/x', "cannot create 'tank/x': dataset already exists\n", 1],
      ['ifconfig tap7 destroy', '', 0],
    ),
  ).toEqual([]);
});

test('and what the model answers otherwise is told', async () => {
  expect(await differing(['jail -R nobody', '', 0], ['ifconfig tap9 destroy', 'something else\n', 1])).toEqual([
    'jail -R nobody',
    'ifconfig tap9 destroy',
  ]);
});
