import type { Effect } from '../../base/host.ts';
import type { StepDef } from '../../base/step.ts';
import { LIMITS } from '../../base/limits.ts';
import { run } from '../../platform/command.ts';
import { jailsNamed, limitsOn, mountsAt } from '../lookup.ts';
import type { Seen } from '../observe.ts';
import { addRules, applyRules, deleteRuleset, renderShown, showRules, type Rule } from '../programs/devfs.ts';
import { listNames } from '../programs/ifconfig.ts';
import { createJail, removeJail } from '../programs/jail.ts';
import { listJails } from '../programs/jls.ts';
import { BUSY, mount, NO_DIRECTORY, NOT_MOUNTED, unmount } from '../programs/mount.ts';
import { addRule, removeRules } from '../programs/rctl.ts';
import { setCpus } from '../programs/cpuset.ts';

export interface LimitArgs {
  readonly vm: string;
  readonly jail: string;
  readonly rules: readonly string[];
}

/** Resource limits by the jail's name, in force before the jail exists. Undo: they outlive the jail, so they are removed last. */
export const limits: StepDef<LimitArgs, Seen> = {
  because: ({ vm }) => `the limits of ${vm} hold from its first instruction`,
  apply: ({ rules }) => rules.map((rule) => run(addRule(rule))),
  undo: ({ jail }) => [run(removeRules(jail), { tolerate: [{ status: 1, stderr: 'No such process' }] })],
  holds: ({ jail, rules }, seen) => {
    const mine = limitsOn(jail, seen);
    if (mine.length === 0) return 'no';
    return mine.length === rules.length ? 'yes' : 'partly';
  },
  repair: (args, seen) => [...limits.undo(args, seen), ...limits.apply(args)],
};

export interface RulesetArgs {
  readonly vm: string;
  /** The VM's name in vmm(4): its rule tells our ruleset from a stranger's. */
  readonly machine: string;
  readonly ruleset: number;
  readonly rules: readonly Rule[];
  /** Where the jail's /dev is mounted. */
  readonly node: string;
}

/**
 * The VM's own devfs ruleset, read back and compared before anything is mounted with it.
 * A mount with an unknown ruleset would show every device of the host (FACTS 0.7).
 */
export const ruleset: StepDef<RulesetArgs, Seen> = {
  because: ({ vm }) => `the jail of ${vm} may see its own devices and no other; an unknown ruleset would show all`,
  apply: ({ ruleset: number, rules }) => [
    run(deleteRuleset(number)),
    run(addRules(number, rules)),
    run(showRules(number), { expect: renderShown(rules) }),
  ],
  undo: ({ ruleset: number }) => [run(deleteRuleset(number))],
  holds: ({ machine, ruleset: number, rules }, seen) => {
    if (!seen.rulesets.has(number)) return 'no';
    const [wanted, shown] = [renderShown(rules), seen.focus?.rules];
    if (shown === undefined || shown === wanted) return 'yes';
    // Cut short it is still ours; anything else in a set of this number is a stranger's.
    return shown !== '' && (wanted.startsWith(shown) || shown.includes(` path vmm/${machine} `)) ? 'partly' : 'no';
  },
  // Nodes that appeared while the set was empty are filtered now.
  repair: (args) => [...ruleset.apply(args), run(applyRules(args.node))],
};

export interface MountArgs {
  readonly vm: string;
  readonly type: 'tarfs' | 'tmpfs' | 'nullfs' | 'devfs';
  readonly options: readonly string[];
  readonly special: string;
  readonly node: string;
  readonly why: string;
  /** bhyve has files of it open: mounted again they stay lost. */
  readonly heldOpen: boolean;
}

/** As often as something is mounted there: whoever mounts a second time covers the first. */
const unmountAll = (node: string, seen: Seen): Effect[] =>
  Array.from({ length: Math.max(1, mountsAt(node, seen).length) }, () => unmountBusy(node));

const mounted = (node: string, seen: Seen): 'yes' | 'no' => (mountsAt(node, seen).length > 0 ? 'yes' : 'no');
const unmountBusy = (node: string) =>
  run(unmount(node), { tolerate: [NOT_MOUNTED, NO_DIRECTORY], retry: { on: BUSY, forMs: LIMITS.busyTimeoutMs } });

/** One file system of the jail. Undo: retried while busy, for the root is for a moment after the jail is gone (FACTS S.4). */
export const filesystem: StepDef<MountArgs, Seen> = {
  because: ({ why }) => why,
  apply: ({ type, options, special, node }) => [run(mount(type, options, special, node))],
  undo: ({ node }, seen) => unmountAll(node, seen),
  holds: ({ node }, seen) => mounted(node, seen),
  repair: (args) =>
    args.heldOpen ? { restart: `what bhyve had open below ${args.node} was taken from it` } : filesystem.apply(args),
};

export interface DevArgs {
  readonly vm: string;
  readonly jail: string;
  readonly ruleset: number;
  readonly node: string;
  /** Interfaces that come home when the jail is gone. */
  readonly interfaces: readonly string[];
  readonly meta: boolean;
}

/** An interface inside the jail, or captive in its dying vnet. */
const isAway = (jail: string, name: string, seen: Seen): boolean =>
  seen.focus?.inside.has(name) === true ||
  (!seen.interfaces.has(name) && jailsNamed(jail, seen).some((each) => each.dying));

/** jls(8) forgets a jail a moment before the kernel has sent its interfaces home. */
const awaitHome = (jail: string, names: readonly string[]): Effect[] =>
  names.length === 0
    ? []
    : [
        {
          do: 'await',
          what: `${names.join(' and ')} to come home from jail ${jail}`,
          probe: listNames(),
          until: { matches: `^${names.map((name) => `(?=.*\\b${name}\\b)`).join('')}` },
          timeoutMs: LIMITS.jailGoneTimeoutMs,
        },
      ];

/**
 * The jail's /dev. It is mounted before the jail and unmounted right after jail -R:
 * a removed jail stays dying, and its interfaces away, until its devfs is unmounted (FACTS S.4).
 */
export const dev: StepDef<DevArgs, Seen> = {
  because: ({ vm, ruleset: number }) =>
    `the /dev of ${vm} is filtered by ruleset ${number} before anything in the jail can look`,
  apply: ({ ruleset: number, node }) => [run(mount('devfs', [`ruleset=${number}`], 'devfs', node))],
  undo: ({ jail, node, meta, interfaces }, seen) => [
    ...unmountAll(node, seen),
    {
      do: 'await',
      what: `jail ${jail} to be gone`,
      probe: listJails(meta),
      until: { lacks: `"name":"${jail}"` },
      timeoutMs: LIMITS.jailGoneTimeoutMs,
    },
    ...awaitHome(
      jail,
      interfaces.filter((name) => isAway(jail, name, seen)),
    ),
  ],
  holds: ({ jail, node }, seen) => {
    if (mounted(node, seen) === 'yes') return 'yes';
    return jailsNamed(jail, seen).some((each) => each.dying) ? 'partly' : 'no';
  },
  repair: () => ({ restart: 'its /dev was unmounted, and with it went the devices that bhyve had open' }),
};

export interface JailArgs {
  readonly vm: string;
  readonly jail: string;
  /** The jail's root: a jail of our name elsewhere is a stranger's. */
  readonly path: string;
  readonly parameters: readonly string[];
  readonly cpuset?: string;
}

/** The jail. Undo: removed without running anything; success while dying. */
export const jail: StepDef<JailArgs, Seen> = {
  because: ({ vm }) => `bhyve of ${vm} runs in a jail of its own, with a vnet of its own, and may use vmm(4) there`,
  apply: ({ jail: name, parameters, cpuset }) => [
    run(createJail(parameters)),
    ...(cpuset === undefined ? [] : [run(setCpus(cpuset, name))]),
  ],
  undo: ({ jail: name }) => [run(removeJail(name), { tolerate: [{ status: 1, stderr: 'not found' }] })],
  holds: ({ jail: name, path }, seen) =>
    jailsNamed(name, seen).some((each) => each.path === path && !each.dying) ? 'yes' : 'no',
  repair: () => ({ restart: 'its jail is gone' }),
};
