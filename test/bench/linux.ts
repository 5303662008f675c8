import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Vm } from '../../src/platform/platform.ts';
import type { StepDef } from '../../src/base/step.ts';
import { realHost } from '../../src/io/host.ts';
import { linuxPlatform } from '../../src/linux/platform.ts';
import { layout } from '../../src/platform/layout.ts';
import { parseVm } from '../../src/spec/vm.ts';
import { timeScript, toScript } from './script.ts';
import { nicOn } from '../unit/placed.ts';

const access = { mode: 0o711, uid: 0, gid: 0 };

/** The same VM, with names of its own, by a plain script of the same commands. */
export const linuxReference = async (): Promise<{
  start(): number;
  stop(): Promise<number>;
  close(): Promise<void>;
}> => {
  const dir = mkdtempSync('/var/tmp/brig-script-');
  const paths = { stateDir: `${dir}/state`, runDir: `${dir}/run` };
  const places = layout(paths);
  for (const path of [paths.stateDir, paths.runDir, places.vmsDir, places.statesDir, places.exits])
    await realHost.mkdir(path, access);
  writeFileSync(places.supervisor, await readFile(new URL('../../src/platform/supervise.sh', import.meta.url), 'utf8'));
  const platform = linuxPlatform({ paths, accel: 'tcg', allowDevices: [] });
  await platform.prepare(realHost);
  const spec = parseVm({ name: 'script', firmware: { builtin: 'test' }, memory: '64M', nics: [{}] });
  const bridge = { network: 'script', name: 'brigscript', own: true };
  const vm: Vm = {
    spec,
    place: { slot: 900, uid: 29_900, secretName: 'b0', nics: [nicOn(8_900, '58:9c:fc:00:00:01', bridge)] },
  };
  const steps = platform.startSteps(vm, 'script', 30_000);
  const of = (kind: string): StepDef<unknown, unknown> =>
    platform.catalogue[kind] as unknown as StepDef<unknown, unknown>;
  for (const step of platform.createSteps(vm))
    for (const effect of of(step.kind).apply(step.args))
      if (effect.do === 'mkdir') await realHost.mkdir(effect.path, effect.access);
  return {
    start: () => timeScript(toScript(steps.flatMap((step) => [...of(step.kind).apply(step.args)]))),
    stop: async () => {
      const seen = await platform.look(realHost, await platform.observe(realHost), vm);
      return timeScript(toScript([...steps].reverse().flatMap((step) => [...of(step.kind).undo(step.args, seen)])));
    },
    close: () => Promise.resolve(rmSync(dir, { recursive: true })),
  };
};
