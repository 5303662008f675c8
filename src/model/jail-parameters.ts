import type { Jail, World } from './world.ts';

/** Parameters with a value. Those that make jail(8) run or mount something are unknown on purpose. Source: jail(8). */
export const VALUES: ReadonlySet<string> = new Set([
  'name',
  'jid',
  'path',
  'vnet',
  'devfs_ruleset',
  'enforce_statfs',
  'securelevel',
  'children.max',
  'host.hostname',
  'host.domainname',
  'host.hostuuid',
  'host.hostid',
  'osrelease',
  'osreldate',
]);

/** Switches of every release, with their value in a new jail. Source: kern_jail.c, JAIL_DEFAULT_ALLOW. */
const SWITCHES: Readonly<Record<string, boolean>> = {
  'allow.set_hostname': true,
  'allow.sysvipc': false,
  'allow.raw_sockets': false,
  'allow.chflags': false,
  'allow.mount': false,
  'allow.mount.devfs': false,
  'allow.mount.tmpfs': false,
  'allow.mount.nullfs': false,
  'allow.quotas': false,
  'allow.socket_af': false,
  'allow.mlock': false,
  'allow.reserved_ports': true,
  'allow.read_msgbuf': false,
  'allow.unprivileged_proc_debug': true,
  'allow.suser': true,
  'allow.nfsd': false,
  'allow.extattr': false,
  'allow.adjtime': false,
  'allow.settime': false,
};

/** In 15 only. unrecorded: the default of unprivileged_parent_tampering */
const SWITCHES_15: Readonly<Record<string, boolean>> = {
  'allow.routing': false,
  'allow.setaudit': false,
  'allow.unprivileged_parent_tampering': false,
};

/** Every `allow.` of the running kernel; those of vmm(4) come and go with it. */
export const switchesOf = (world: World): Readonly<Record<string, boolean>> => ({
  ...SWITCHES,
  ...(world.mode === '15' ? SWITCHES_15 : {}),
  ...(world.modules.has('vmm') ? { 'allow.vmm': false } : {}),
  ...(world.modules.has('vmm') && world.mode === '15' ? { 'allow.vmm_ppt': false } : {}),
});

/** Whether this release has `meta` and `env`. */
export const hasMeta = (world: World): boolean => world.mode === '15';

/** Names below security.jail.param. A name that is a node as well ends in a dot. */
export const parameterNames = (world: World): string[] => {
  const switches = Object.keys(switchesOf(world));
  const names = [
    ...VALUES,
    'persist',
    'dying',
    'parent',
    'children.cur',
    ...(hasMeta(world) ? ['meta', 'env'] : []),
    ...switches,
  ];
  return names.sort().map((name) => (names.some((other) => other.startsWith(`${name}.`)) ? `${name}.` : name));
};

/** Whether a jail may do it. */
export const isAllowed = (world: World, jail: Jail, name: string): boolean => {
  const set = jail.parameters.get(name);
  return typeof set === 'boolean' ? set : (switchesOf(world)[name] ?? false);
};
