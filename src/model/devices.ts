import type { Attributes, Device, DevfsView, DirectoryNode, Mount, Node, Rule, World } from './world.ts';

/** Makes a character device; it is in every devfs from then on, as far as the rules there let it. */
export const addDevice = (world: World, device: Device): void => void world.devices.set(device.name, device);

export const removeDevice = (world: World, name: string): void => {
  const device = world.devices.get(name);
  world.devices.delete(name);
  if (device) for (const { devfs } of world.mounts) devfs?.devices.delete(device);
};

const TOKENS = /\\(.)|\*|\?|\[([!^]?)([^\]]*)\]|[.+^${}()|\\/]/g;

/** fnmatch(3) with FNM_PATHNAME: no wildcard crosses a slash. */
const matches = (pattern: string, path: string): boolean => {
  const source = pattern.replaceAll(TOKENS, (token, escaped?: string, not?: string, set?: string) => {
    if (escaped !== undefined) return escaped.replaceAll(/\W/g, '\\$&');
    if (token === '*') return '[^/]*';
    if (token === '?') return '[^/]';
    return set === undefined ? `\\${token}` : `[${not ? '^' : ''}${set}]`;
  });
  return new RegExp(`^${source}$`).test(path);
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
    number === ruleset || (world.rulesets.get(number) ?? []).some((rule) => rule.include === ruleset);
  for (const { devfs } of world.mounts) if (devfs && devfs.ruleset !== 0 && uses(devfs.ruleset)) settle(world, devfs);
};

/** `devfs rule applyset`: the rules of now for every node. */
export const applyRuleset = (world: World, view: DevfsView): void => {
  view.devices.clear();
  view.directories.clear();
  settle(world, view);
};

export const newView = (world: World, ruleset: number): DevfsView => {
  const view = { ruleset, devices: new Map<Device, Attributes>(), directories: new Map<string, boolean>() };
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

const directory = (): DirectoryNode => ({ kind: 'directory', mode: 0o555, uid: 0, gid: 0, entries: new Map() });

/** What is at a path of a devfs, `''` for its root, seen from a jail. Directories list what is directly in them. */
export const findDevice = (world: World, mount: Mount, path: string, jid: number): Node | undefined => {
  const view = mount.devfs;
  if (!view) return undefined;
  const exact = world.devices.get(path);
  if (exact) return isVisible(world, view, exact, jid) ? deviceNode(world, view, exact) : undefined;
  const found = directory();
  const prefix = path === '' ? '' : `${path}/`;
  for (const device of world.devices.values()) {
    if (!device.name.startsWith(prefix) || !isVisible(world, view, device, jid)) continue;
    const [first = '', more] = device.name.slice(prefix.length).split('/', 2);
    found.entries.set(first, more === undefined ? deviceNode(world, view, device) : directory());
  }
  return found.entries.size > 0 || path === '' ? found : emptyDirectory(world, view, path);
};

/** A directory is unhidden by its own rule although nothing in it is to be seen. */
const emptyDirectory = (world: World, view: DevfsView, path: string): DirectoryNode | undefined => {
  const exists = [...world.devices.keys()].some((name) => name.startsWith(`${path}/`));
  const open = [...parentsOf(`${path}/x`)].every((parent) => !isHiddenDirectory(world, view, parent));
  return exists && open ? directory() : undefined;
};
