/** Fields of /proc/PID/status. Source: proc(5) */
export type Status = ReadonlyMap<string, string>;

export const parseStatus = (text: string): Status =>
  new Map(
    text.split('\n').flatMap((line) => {
      const [name, value] = line.split(/:(.*)/s);
      return name && value !== undefined ? [[name, value.trim().replaceAll(/\s+/g, ' ')] as const] : [];
    }),
  );

/** A line of /proc/PID/limits as `soft`, or `soft/hard` where they differ. */
export const parseRlimit = (text: string, name: string): string | undefined => {
  const [, soft, hard] = new RegExp(`^Max ${name} +(\\S+) +(\\S+)`, 'm').exec(text) ?? [];
  return soft === hard ? soft : `${soft}/${hard}`;
};

/** Rows of a table below /proc/PID/net, without its header. */
export const countRows = (text: string): number => text.trimEnd().split('\n').length - 1;

/** Inode and path of every unix socket; '' for one without a name. Source: proc(5) "/proc/net/unix" */
export const parseUnix = (text: string): ReadonlyMap<string, string> =>
  new Map(
    text
      .split('\n')
      .slice(1)
      .flatMap((line) => {
        const [, , , , , , inode, path] = line.split(/ +/);
        return inode ? [[inode, path ?? ''] as const] : [];
      }),
  );

/** Interfaces of /proc/PID/net/dev, after its two headers. */
export const parseInterfaces = (text: string): string[] =>
  text
    .split('\n')
    .slice(2)
    .flatMap((line) => /^\s*(\S+):/.exec(line)?.[1] ?? []);

/** Path of a process in each hierarchy of /proc/PID/cgroup; version 2 is ''. */
export const parseCgroups = (text: string): ReadonlyMap<string, string> =>
  new Map(
    text.split('\n').flatMap((line) => {
      const [, names, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
      return path === undefined ? [] : (names ?? '').split(',').map((name) => [name, path] as const);
    }),
  );
