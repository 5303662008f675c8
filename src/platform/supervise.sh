#!/bin/sh
# Runs one VM's process, runs it again when the guest resets, and writes down how it ended.
#
#   sh supervise.sh KIND NAME DIR EXITS RUN RESETS WINDOW [-g CGROUP]... [-7 FILE] [-8 FILE] [-9 FILE]
#      [LIMITS]... [-m MACHINE] [-r SOCKET]... -- COMMAND [ARG]...
#
#   KIND     bhyve or qemu: whose exit status it is. EXITS gets bhyve's numbers either way.
#   NAME     the VM
#   DIR      its run directory with the FIFOs con.in and con.out; err and err.in are made here
#   EXITS    directory of exit files
#   RUN      id of this run, written into the exit file
#   RESETS   guest resets allowed within WINDOW seconds
#   CGROUP   directory that each run joins before COMMAND
#   FILE     open as descriptor 7, 8 or 9 of COMMAND
#   LIMITS   -u processes, -n open files, -c blocks of a core, -f blocks of a file: ulimit(1) for COMMAND
#   MACHINE  the VM's name in vmm(4), where it is not NAME
#   SOCKET   removed before each run: bhyve does not make one over an old one
#
# EXITS/NAME         "RUN STATUS EPOCH": the end. STATUS is 128 + n after signal n.
# EXITS/NAME.resets  "RUN COUNT EPOCH": the guest has reset COUNT times and runs again.
# DIR/stop           while it exists, a reset is an end.
#
# brigd may go and come back, this stays. For dash and FreeBSD's sh.

umask 077
# Ignored signals stay ignored in COMMAND, so that output which nobody reads cannot end a guest.
trap '' HUP INT QUIT PIPE

# Everything that COMMAND writes to stderr is kept, up to 1 MiB: a guest can make its monitor
# print without end, and a broken monitor can write what it likes.
ERR_READS=16384
ERR_READ_BYTES=64

child=
asked=
trap 'asked=1; [ -z "$child" ] || kill -TERM "$child"' TERM

# Waits for the process $1 and sets `status`: a signal ends wait(1) early, but not the process.
reap() {
	status=
	while :; do
		before=$asked
		asked=
		wait "$1"
		got=$?
		# 127: the status was fetched just before the signal came.
		[ "$got" = 127 ] && [ -n "$status" ] || status=$got
		if [ -z "$asked" ]; then
			asked=$before
			return
		fi
	done
}

# In a process of its own: joins the cgroups and becomes COMMAND. 71: it never ran.
become() {
	while [ "$1" != -- ]; do
		case $1 in
		-g) echo 0 >"$2/cgroup.procs" || exit 71 ;;
		-7) exec 7<"$2" ;;
		-8) exec 8<"$2" ;;
		-9) exec 9<"$2" ;;
		-u | -n | -c | -f) ulimit "$1" "$2" || exit 71 ;;
		-m | -r) ;;
		*) exit 64 ;;
		esac
		shift 2
	done
	shift
	exec "$@"
}

# What concerns us rather than COMMAND.
options() {
	machine=$name
	while [ "$1" != -- ]; do
		case $1 in
		-m) machine=$2 ;;
		-r) rm -f "$2" ;;
		esac
		shift 2
	done
}

# One run. Descriptor 3 holds both ends of err.in only until each process has opened its own:
# nobody blocks in open(2), and the reader sees the end when the last writer is gone.
run_once() {
	status=71
	[ -p "$dir/con.in" ] && [ -p "$dir/con.out" ] || return
	[ -p "$dir/err.in" ] || mkfifo "$dir/err.in" || return
	exec 3<>"$dir/err.in"
	dd bs=$ERR_READ_BYTES count=$ERR_READS <"$dir/err.in" >"$dir/err" 2>/dev/null 3>&- &
	reader=$!
	# Consoles are opened for reading and writing: the guest sees neither an end nor a broken pipe.
	become "$@" <>"$dir/con.in" 1<>"$dir/con.out" 2>"$dir/err.in" 3>&- &
	child=$!
	# Asked before there was a child.
	[ -z "$asked" ] || kill -TERM "$child"
	exec 3>&-
	reap "$child"
	child=
	ended=$status
	reap "$reader"
	status=$ended
}

# QEMU ends with 0 whatever the guest did; what it says tells (-trace vm_state_notify,
# -trace qemu_system_shutdown_request, -d cpu_reset). Reasons are ShutdownCause of QEMU's
# qapi/run-state.json: 2 quit on the monitor, 6 guest power-off. A reset is no request.
to_bhyve_status() {
	[ "$status" -le 128 ] || return 0
	said=$(grep -aoE 'Triple fault|_request reason=[0-9]+|_notify running [01]|terminating on signal [0-9]+' "$dir/err")
	case $status:$said in
	0:*'on signal '*)
		signal=${said##*on signal }
		status=$((128 + ${signal%%[!0-9]*}))
		;;
	0:*'Triple fault'*) status=3 ;;
	0:*'reason=2'* | 0:*'reason=6'*) status=1 ;;
	0:*'reason='*) status=4 ;;
	0:*'running 0'*) status=0 ;;
	*'running 1'*) status=4 ;;
	*) status=71 ;;
	esac
}

# Text $2 becomes file $1 at once: a reader sees nothing or all of it.
record() {
	printf '%s\n' "$2" >"$exits/.$1.new" && mv -f "$exits/.$1.new" "$exits/$1"
}

# Whether the guest may run again. `times` are the resets of the last WINDOW seconds.
may_run_again() {
	[ "$status" = 0 ] && [ -z "$asked" ] && [ ! -e "$dir/stop" ] || return 1
	recent=0
	kept=
	for at in $times; do
		if [ $((now - at)) -lt "$window" ]; then
			recent=$((recent + 1))
			kept="$kept $at"
		fi
	done
	times="$kept $now"
	[ "$recent" -lt "$resets" ]
}

main() {
	kind=$1 name=$2 dir=$3 exits=$4 run=$5 resets=$6 window=$7
	shift 7
	count=0
	times=
	while :; do
		options "$@"
		run_once "$@"
		[ "$kind" = bhyve ] || to_bhyve_status
		now=$(date +%s)
		may_run_again || break
		count=$((count + 1))
		# vmm(4) keeps the VM of a guest that reset; bhyve must make it anew.
		[ "$kind" != bhyve ] || /usr/sbin/bhyvectl "--vm=$machine" --destroy
		record "$name.resets" "$run $count $now"
	done
	record "$name" "$run $status $now"
}

# On one line, so that no more of this file is read once it runs.
main "$@"; exit
