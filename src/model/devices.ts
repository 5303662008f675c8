import type { Attributes, Device, DevfsView, DirectoryNode, Mount, Node, Rule, World } from './world.ts';

/** Makes a character device; it is in every devfs from then on, as far as the rules there let it. */
export const addDevice = (world: World, device: Device): void => void world.devices.set(device.name, device);

export const removeDevice = (world: World, name: string): void => void world.devices.delete(name);

const TOKENS = /\\(.)|\*|\?|\[([!^]?)([^\]]*)\]|[.+^${}()|\\/]/g;

const PATTERNS = new Map<string, RegExp>();

const compile = (pattern: string): RegExp => {
  const source = pattern.replaceAll(TOKENS, (token, escaped?: string, not?: string, set?: string) => {
    if (escaped !== undefined) return escaped.replaceAll(/\W/g, '\\$&');
    if (token === '*') return '[^/]*';
    if (token === '?') return '[^/]';
    return set === undefined ? `\\${token}` : `[${not ? '^' : ''}${set}]`;
  });
  return new RegExp(`^${source}$`);
};

/** fnmatch(3) with FNM_PATHNAME: no wildcard crosses a slash. */
const matches = (pattern: string, path: string): boolean => {
  if (!/[*?[\\]/.test(pattern)) return pattern === path;
  const compiled = PATTERNS.get(pattern) ?? compile(pattern);
  PATTERNS.set(pattern, compiled);
  return compiled.test(path);
};

/** An included set's own includes are ignored: vfs.devfs.rule_depth is 1. */
const rulesOf = (world: World, ruleset: number, depth = 1): Rule[] =>
  (world.rulesets.get(ruleset) ?? []).flatMap((rule) => {
    if (rule.include === undefined) return [rule];
    return depth > 0 ? rulesOf(world, rule.include, depth - 1) : [];
  });

/** Later rules win; a rule without a path matches everything. Source: devfs(8), FACTS 4. */
const judge = (world: World, ruleset: number, path: string, owner: Readonly<Attributes>): Attributes => {
  let seen = owner;
  for (const rule of rulesOf(world, ruleset)) {
    if (rule.type !== undefined || (rule.path !== undefined && !matches(rule.path, path))) continue;
    seen = {
      hidden: rule.hide ?? seen.hidden,
      uid: rule.user ?? seen.uid,
      gid: rule.group ?? seen.gid,
      mode: rule.mode ?? seen.mode,
    };
  }
  return seen;
};

const attributesOf = (world: World, view: DevfsView, device: Device): Attributes => {
  const known = view.devices.get(device);
  if (known) return known;
  const { mode, uid, gid } = device;
  const fresh = judge(world, view.ruleset, device.name, { mode, uid, gid, hidden: false });
  view.devices.set(device, fresh);
  return fresh;
};

const isHiddenDirectory = (world: World, view: DevfsView, path: string): boolean => {
  const known = view.directories.get(path);
  if (known !== undefined) return known;
  const { hidden } = judge(world, view.ruleset, path, { mode: 0o555, uid: 0, gid: 0, hidden: false });
  view.directories.set(path, hidden);
  return hidden;
};

/** Everything that is there now gets its attributes by the rules of now: later rules do not touch it. */
const settle = (world: World, view: DevfsView): void => {
  for (const device of world.devices.values()) {
    attributesOf(world, view, device);
    for (const parent of parentsOf(device.name)) isHiddenDirectory(world, view, parent);
  }
};

const parentsOf = (name: string): string[] =>
  name
    .split('/')
    .slice(0, -1)
    .map((_, i, parts) => parts.slice(0, i + 1).join('/'));

/** Before a ruleset changes: nodes that appeared under the old rules keep what those said. */
export const settleMounts = (world: World, ruleset: number): void => {
  const uses = (number: number): boolean =>
    number !== ruleset && (world.rulesets.get(number) ?? []).some((rule) => rule.include === ruleset);
  const using = world.included.has(ruleset) ? [...world.devfsMounts.keys()].filter(uses) : [];
  for (const number of [ruleset, ...using])
    if (number !== 0) for (const { devfs } of world.devfsMounts.get(number) ?? []) if (devfs) settle(world, devfs);
};

/** `devfs rule applyset`: the rules of now for every node. */
export const applyRuleset = (world: World, view: DevfsView): void => {
  view.devices = new WeakMap();
  view.directories.clear();
  settle(world, view);
};

export const newView = (world: World, ruleset: number): DevfsView => {
  const view = { ruleset, devices: new WeakMap<Device, Attributes>(), directories: new Map<string, boolean>() };
  // An unknown ruleset springs into being without rules: everything is visible (FACTS 4).
  if (ruleset !== 0 && !world.rulesets.has(ruleset)) world.rulesets.set(ruleset, []);
  return view;
};

/** Whether somebody in the jail can see the device there. The host (jid 0) sees what jails made; they do not see each other's. */
const isVisible = (world: World, view: DevfsView, device: Device, jid: number): boolean =>
  !attributesOf(world, view, device).hidden &&
  (jid === 0 || device.jid === undefined || device.jid === jid) &&
  parentsOf(device.name).every((parent) => !isHiddenDirectory(world, view, parent));

const deviceNode = (world: World, view: DevfsView, device: Device): Node => {
  const { mode, uid, gid } = attributesOf(world, view, device);
  return { kind: 'device', device, mode, uid, gid };
};

const closed = (): DirectoryNode => ({ kind: 'directory', mode: 0o555, uid: 0, gid: 0, entries: new Map() });

const entriesOf = (world: World, view: DevfsView, path: string, jid: number): Map<string, Node> => {
  const entries = new Map<string, Node>();
  const prefix = path === '' ? '' : `${path}/`;
  for (const device of world.devices.values()) {
    if (!device.name.startsWith(prefix)) continue;
    const [first = '', more] = device.name.slice(prefix.length).split('/', 2);
    if (more === undefined) {
      if (isVisible(world, view, device, jid)) entries.set(first, deviceNode(world, view, device));
    } else if (!isHiddenDirectory(world, view, `${prefix}${first}`)) entries.set(first, closed());
  }
  return entries;
};

/** A directory is there as long as a device is in it, whoever may see that; it is listed when somebody asks. */
const findDirectory = (world: World, view: DevfsView, path: string, jid: number): DirectoryNode | undefined => {
  const levels = path === '' ? [] : parentsOf(`${path}/`);
  const exists = path === '' || [...world.devices.keys()].some((name) => name.startsWith(`${path}/`));
  if (!exists || levels.some((level) => isHiddenDirectory(world, view, level))) return undefined;
  const { kind, mode, uid, gid } = closed();
  return {
    kind,
    mode,
    uid,
    gid,
    get entries() {
      return entriesOf(world, view, path, jid);
    },
  };
};

/** What is at a path of a devfs, `''` for its root, seen from a jail. */
export const findDevice = (world: World, mount: Mount, path: string, jid: number): Node | undefined => {
  const view = mount.devfs;
  if (!view) return undefined;
  const exact = world.devices.get(path);
  if (!exact) return findDirectory(world, view, path, jid);
  return isVisible(world, view, exact, jid) ? deviceNode(world, view, exact) : undefined;
};
