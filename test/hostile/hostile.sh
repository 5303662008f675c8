# The hostile tenant where there is no compiler: for the /bin/sh of a jail, builtins only, by stdin.
#
#   sh -s VICTIM_PID VICTIM_RUN VICTIM_DISK SOCKET CANARY OWN_PID LEAST
#     LEAST   descriptors that would be too many
#
# Reports like hostile.c. A function returns 0 and sets `got` when it got something.

victim_pid=$1 victim_run=$2 victim_disk=$3 socket=$4 canary=$5 own_pid=$6 least=$7
attempts=0 escapes=0

attempt() {
	name=$1 got=
	shift
	attempts=$((attempts + 1))
	if "$@" 2>/dev/null; then
		escapes=$((escapes + 1))
		echo "ESCAPED $name: $got"
	else
		echo "held $name: nothing worked"
	fi
}

# Each of these is a subshell: a failed redirection of a builtin would end the script.
reads() { (: <"$1") 2>/dev/null; }
writes() { (: >>"$1") 2>/dev/null; }

any_reads() {
	for path; do
		got="opened $path"
		! reads "$path" || return 0
	done
	return 1
}

any_writes() {
	for path; do
		got="wrote to $path"
		! writes "$path" || return 0
	done
	return 1
}

# Files that are there, and a new one in each directory; /tmp, /disk's files and device nodes are its own.
write_anywhere() {
	for path in / /*/ /*/*/ /*/*/*/; do
		case $path in /tmp/*) continue ;; esac
		got="made a file in $path"
		[ ! -d "$path" ] || ! writes "${path}hostile-new" || return 0
	done
	for path in /* /*/* /*/*/* /*/*/*/*; do
		case $path in /tmp/* | /dev/* | /disk/*) continue ;; esac
		got="wrote to $path"
		[ ! -f "$path" ] || ! writes "$path" || return 0
	done
	return 1
}

signals() {
	for pid; do
		got="may signal $pid"
		! kill -0 "$pid" || return 0
	done
	return 1
}

signals_any() {
	pid=1
	while [ "$pid" -lt 99999 ]; do
		got="may signal $pid"
		[ "$pid" = "$$" ] || [ "$pid" = "$own_pid" ] || ! kill -0 "$pid" 2>/dev/null || return 0
		pid=$((pid + 1))
	done
	return 1
}

climbs() {
	got="climbed to $canary"
	(cd / && cd ../../../../.. && reads ".$canary") || (cd /tmp && reads "../../../../../..$canary")
}

raises() {
	got='raised a limit'
	(ulimit -u unlimited) || (ulimit -n unlimited) || (ulimit -c unlimited)
}

many() {
	got="may open $(ulimit -n) files"
	[ "$(ulimit -n)" = unlimited ] || [ "$(ulimit -n)" -ge "$least" ]
}

attempt victim-disk any_reads "$victim_disk"
attempt victim-run-directory any_reads "$victim_run/con.in" "$victim_run/con.out" "$victim_run/err" "$victim_run/vm"
attempt brigd-socket any_reads "$socket"
attempt host-files any_reads "$canary" /etc/passwd /etc/master.passwd /boot /var/run /root /proc /dev/fd
attempt host-nodes any_reads /dev/mem /dev/kmem /dev/io /dev/pci /dev/zfs /dev/pf /dev/bpf /dev/klog /dev/console \
	/dev/ada0 /dev/da0 /dev/nda0 /dev/vtbd0 /dev/xpt0 /dev/devctl /dev/geom.ctl
attempt cloning-nodes any_reads /dev/nmdm99A /dev/tap99 /dev/tun99 /dev/vmnet99 /dev/ptmx /dev/pts/0 /dev/mdctl
attempt write-anywhere write_anywhere
attempt new-nodes any_writes /dev/hostile-new /dev/vmm/hostile
attempt kill-init signals 1
attempt kill-victim signals "$victim_pid"
attempt kill-everybody signals_any
attempt dot-dot climbs
attempt raise-limits raises
attempt descriptors many
echo "$attempts attempts, $escapes escaped, 0 untried"
[ "$escapes" = 0 ]
