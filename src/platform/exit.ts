/**
 * How a run of bhyve (or QEMU, translated by supervise.sh into bhyve's numbers) ended.
 * Source: bhyve(8) EXIT STATUS, FACTS 1.4.
 */
export type Exit =
  | {
      readonly kind: 'reset' | 'poweroff' | 'halted' | 'tripleFault' | 'error' | 'suspended' | 'refused' | 'unknown';
      readonly status: number;
    }
  | { readonly kind: 'signal'; readonly status: number; readonly signal: number };

/** What supervise.sh writes when a run is over: run id, status, seconds since the epoch. */
export interface ExitRecord {
  readonly run: string;
  readonly exit: Exit;
  readonly atMs: number;
}

const KINDS = ['reset', 'poweroff', 'halted', 'tripleFault', 'error', 'suspended'] as const;

/** `refused`: status 1 with a usage text or a jexec error instead of a power-off; EX_USAGE and EX_OSERR. */
export const toExit = (status: number, stderr: string): Exit => {
  if (status > 128 && status < 192) return { kind: 'signal', status, signal: status - 128 };
  if (status === 64 || status === 71) return { kind: 'refused', status };
  if (status === 1 && /^(Usage: bhyve|jexec:|chroot:|bwrap:)/m.test(stderr)) return { kind: 'refused', status };
  return { kind: KINDS[status] ?? 'unknown', status };
};

export const parseExitFile = (text: string, stderr: string): ExitRecord | undefined => {
  const match = /^(\S+) (\d+) (\d+)\n$/.exec(text);
  if (!match) return undefined;
  return { run: match[1] ?? '', exit: toExit(Number(match[2]), stderr), atMs: Number(match[3]) * 1000 };
};

/** For people: `signal 9`, `power-off`, `error (status 4)`. */
export const renderExit = (exit: Exit): string => {
  if (exit.kind === 'signal') return `signal ${exit.signal}`;
  if (exit.kind === 'error' || exit.kind === 'refused' || exit.kind === 'unknown')
    return `${exit.kind} (status ${exit.status})`;
  return {
    reset: 'reset',
    poweroff: 'power-off',
    halted: 'halted',
    tripleFault: 'triple fault',
    suspended: 'suspended',
  }[exit.kind];
};
