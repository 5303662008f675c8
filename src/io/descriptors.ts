import { closeSync, readdirSync, readFileSync } from 'node:fs';

/** Source: fcntl.h of Linux */
const O_CLOEXEC = 0o2000000;

const FIRST_BEYOND_STDIO = 3;

const isKept = (fd: string): boolean => {
  try {
    const flags = /^flags:\s+(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '0';
    return (Number.parseInt(flags, 8) & O_CLOEXEC) === 0;
  } catch {
    return false;
  }
};

/**
 * Closes what whoever started brigd left open: every program that brigd starts would have it, and each VM.
 * Node's own are closed on exec(2) anyway. Without /proc there is nothing to look at.
 */
export const closeInherited = (): void => {
  let open: string[];
  try {
    open = readdirSync('/proc/self/fd');
  } catch {
    return;
  }
  for (const fd of open) if (Number(fd) >= FIRST_BEYOND_STDIO && isKept(fd)) closeSync(Number(fd));
};
