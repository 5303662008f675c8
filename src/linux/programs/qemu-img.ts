import type { Command } from '../../base/host.ts';
import { LIMITS } from '../../base/limits.ts';
import { command } from '../../platform/command.ts';

export const QEMU_IMG = '/usr/bin/qemu-img';

/** By its name, never by its content: a guest that writes a header into a raw disk must not choose the format. */
export const formatOf = (path: string): 'qcow2' | 'raw' => (path.endsWith('.qcow2') ? 'qcow2' : 'raw');

/** A disk that holds only what differs from its base. Source: qemu-img(1) "create". */
export const createOverlay = (base: string, overlay: string, bytes: number): Command =>
  command(QEMU_IMG, ['create', '-q', '-f', 'qcow2', '-b', base, '-F', formatOf(base), overlay, String(bytes)], {
    timeoutMs: LIMITS.zfsTimeoutMs,
  });
