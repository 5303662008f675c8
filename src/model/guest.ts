import { endProcess, isAlive, SIGNALS } from './processes.ts';
import type { Process, World } from './world.ts';

/** The serial port and stderr of a bhyve. */
export interface Stdio {
  out(text: string): void;
  err(text: string): void;
  /** The answer ends the listening. */
  listen(input: (text: string) => void): () => void;
}

/** From the first instruction to the banner; from then on the guest listens to the power button. */
const BOOT_MS = 5;
/** The guest polls its power button. */
const BUTTON_MS = 50;
const KEY_MS = 1;

/** Keys of the recordings' boot ROM, and the status that bhyve ends with (FACTS 1.4). */
const KEYS: Readonly<Record<string, number>> = { r: 0, q: 1, h: 2, t: 3 };

/** The recordings' guest: greets, echoes, and ends as its keyboard or its power button says. */
export const startGuest = (world: World, name: string, process: Process, stdio: Stdio): void => {
  const state = world.guest(name);
  let up = false;
  let ending = false;
  const say = (text: string): void => {
    state.output += text;
    stdio.out(text);
  };
  const end = (status: number, ms: number): void => {
    if (ending) return;
    ending = true;
    world.clock.after(ms, () => endProcess(world, process, status));
  };
  const input = (text: string): void => {
    for (const key of text) {
      const status = KEYS[key];
      if (ending) return;
      if (status === undefined) say(key);
      else end(status, KEY_MS);
    }
  };
  const inherited = process.onSignal;
  process.onSignal = (number) => {
    if (number !== SIGNALS['TERM']) return inherited?.(number) ?? false;
    if (up && !state.ignoreAcpi) end(1, BUTTON_MS);
    // Before the guest enables ACPI nobody catches SIGTERM (FACTS 1.5).
    return up;
  };
  const machine = { process, input };
  state.machine = machine;
  let unlisten: (() => void) | undefined;
  process.onExit.unshift(() => {
    unlisten?.();
    if (state.machine === machine) delete state.machine;
  });
  world.clock.after(BOOT_MS, () => {
    if (!isAlive(world, process)) return;
    say('GUEST UP\r\n');
    up = true;
    unlisten = stdio.listen(input);
  });
};
