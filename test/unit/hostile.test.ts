import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, expect, test } from 'vitest';
import { listScript, parseReport, script, summaryOf } from '../hostile/program.ts';

const BUILTINS = new Set('[ : break case cd continue echo kill return shift ulimit'.split(' '));

describe('the hostile script', () => {
  test('is one that sh can read', () => {
    const { status, stderr } = spawnSync('/bin/sh', ['-n'], { input: script, encoding: 'utf8' });
    expect([status, stderr]).toEqual([0, '']);
  });

  test('tells every attempt, and finds what is open to it', () => {
    const dir = mkdtempSync(`${tmpdir()}/brig-hostile-`);
    const canary = `${dir}/canary`;
    writeFileSync(canary, '');
    // Not as root: its tries to write must not work here.
    const words = ['-s', '1', dir, `${dir}/none`, `${dir}/none`, canary, '1', '1'];
    const nobody = { uid: 39_199, gid: 39_199, cwd: '/' };
    spawnSync('/bin/chmod', ['755', dir]);
    const { stdout, status } = spawnSync('/bin/sh', words, { input: script, encoding: 'utf8', env: {}, ...nobody });
    rmSync(dir, { recursive: true });
    const report = parseReport(stdout);
    const names = listScript().map(({ name }) => name);
    expect([...report.keys()]).toEqual(names);
    for (const name of ['host-files', 'dot-dot', 'descriptors']) expect(report.get(name), name).toMatch(/^ESCAPED: \S/);
    for (const name of ['victim-disk', 'brigd-socket', 'kill-init'])
      expect(report.get(name)).toBe('held: nothing worked');
    const escapes = [...report.values()].filter((verdict) => verdict.startsWith('ESCAPED')).length;
    expect([summaryOf(stdout), status]).toEqual([`${names.length} attempts, ${escapes} escaped, 0 untried`, 1]);
  });

  test('starts no program: a jail has none to start', () => {
    const functions = [...script.matchAll(/^(\w+)\(\) \{/gm)].map(([, name = '']) => name);
    const words = script
      .split('\n')
      .flatMap((line) => /^\t+(?:! )?([a-z[:]\S*)/.exec(line)?.[1] ?? [])
      .filter((word) => !/^\w+=|^(if|then|else|fi|for|do|done|while|case|esac)$/.test(word) && !word.startsWith('/'));
    expect(words.filter((word) => !BUILTINS.has(word) && !functions.includes(word))).toEqual([]);
  });
});
