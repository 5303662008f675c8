import type { Layout } from '../platform/layout.ts';
import type { Vm } from '../platform/platform.ts';
import { tpmOf } from './devices.ts';
import type { Node } from './node.ts';
import { confineServer, writable } from './programs/bwrap.ts';

export const SWTPM = '/usr/bin/swtpm';

/**
 * Starts a program that listens on a socket, then becomes another that connects to it; both end together.
 * A shell, because nothing else starts one program and becomes another. For dash.
 */
export const BESIDE = `#!/bin/sh
# sh beside.sh SOCKET COUNT FIRST... SECOND...
#   SOCKET  that FIRST makes and SECOND needs
#   COUNT   words of FIRST
# FIRST and SECOND are sandboxes that die with their parent: FIRST's is SECOND.
umask 077
socket=$1 count=$2
shift 2

first() {
	i=0 all=$#
	while [ $i -lt $all ]; do
		[ $i -ge $count ] || set -- "$@" "$1"
		shift
		i=$((i + 1))
	done
	exec "$@" </dev/null >/dev/null 8<&- 9<&-
}

rm -f "$socket"
first "$@" &
until [ -S "$socket" ]; do
	kill -0 $! 2>/dev/null || exit 71
	sleep 0.01
done
shift $count
exec "$@"
`;

/** State files are small: a TPM's memory is. Units: bytes. Source: libtpms, TPM2 NV_MEMORY_SIZE */
const STATE_BYTES = 2 ** 20;

/** swtpm(8) in a sandbox of its own under the VM's uid. It ends with QEMU, and is started anew with it. */
const swtpm = (vm: Vm, files: ReturnType<Layout['vm']>, binds: Node['tpm']): string[] =>
  confineServer(
    vm.place.uid,
    { tasks: 200, openFiles: 64, fileBytes: STATE_BYTES },
    [...(binds ?? []), writable(tpmOf(files).dir, '/tpm')],
    [
      ...[SWTPM, 'socket', '--tpm2', '--tpmstate', 'dir=/tpm,mode=0600', '--seccomp', 'action=kill'],
      '--ctrl',
      'type=unixio,path=/tpm/ctrl,mode=0600',
    ],
  );

/** QEMU's command with its TPM before it, where the VM has one. */
export const withTpm = (
  vm: Vm,
  files: ReturnType<Layout['vm']>,
  binds: Node['tpm'],
  script: string,
  qemu: readonly string[],
): string[] => {
  if (!vm.spec.devices.tpm) return [...qemu];
  const first = swtpm(vm, files, binds);
  return ['/bin/sh', script, tpmOf(files).socket, String(first.length), ...first, ...qemu];
};
