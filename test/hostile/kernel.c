/* What only root may ask of the kernel. Arguments are such that a check of rights is all that could refuse them. */
#include "hostile.h"

#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <linux/reboot.h>
#include <sys/klog.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/timex.h>
#include <sched.h>
#else
#include <sys/param.h>
#include <sys/linker.h>
#include <sys/reboot.h>
#include <sys/sysctl.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <kenv.h>
#endif

static void
clocks(void)
{
	struct timespec now;
	struct timeval delta = { 0, 1 };
	struct timex shift;

	clock_gettime(CLOCK_REALTIME, &now);
	denied(clock_settime(CLOCK_REALTIME, &now), 0, "set the clock");
	denied(adjtime(&delta, NULL), 0, "adjust the clock");
	memset(&shift, 0, sizeof(shift));
#ifdef __linux__
	shift.modes = ADJ_OFFSET;
	denied(adjtimex(&shift), 0, "shift the clock");
#else
	shift.modes = MOD_OFFSET;
	denied(ntp_adjtime(&shift), 0, "shift the clock");
#endif
}

static void
host_name(void)
{
	denied(sethostname("hostile", 7), 0, "set the host's name");
	denied(setdomainname("hostile", 7), 0, "set the domain's name");
#ifdef __FreeBSD__
	denied(sethostid(1), 0, "set the host's id");
#endif
}

static void
make_nodes(void)
{
	static const char *const dirs[] = { "/tmp", "/dev", "/", "/vm", "/disk" };
	char path[64];
	size_t i;

	for (i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		snprintf(path, sizeof(path), "%s/hostile-node", dirs[i]);
		/* Linux: /dev/mem. FreeBSD asks for the right to make any, numbers or not. */
		denied(mknod(path, S_IFCHR | 0666, makedev(1, 1)), 0, "make a character device in %s", dirs[i]);
		denied(mknod(path, S_IFBLK | 0666, makedev(8, 0)), 0, "make a block device in %s", dirs[i]);
	}
}

#ifdef __linux__
static void
mounts(void)
{
	denied(mount("tmpfs", "/dev", "tmpfs", 0, NULL), 0, "mount tmpfs");
	denied(mount("proc", "/dev", "proc", 0, NULL), 0, "mount proc");
	denied(mount("/dev", "/vm", NULL, MS_BIND, NULL), 0, "bind a directory");
	denied(mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL), 0, "mount / for writing");
	denied(mount(NULL, "/", NULL, MS_SHARED | MS_REC, NULL), 0, "share the mounts");
	denied(syscall(SYS_fsopen, "tmpfs", 0), 0, "fsopen");
	denied(syscall(SYS_open_tree, AT_FDCWD, "/", 1), 0, "open_tree");
	denied(syscall(SYS_move_mount, AT_FDCWD, "/dev", AT_FDCWD, "/vm", 0), 0, "move a mount");
	denied(syscall(SYS_pivot_root, "/", "/dev"), 0, "pivot_root");
}

static void
unmounts(void)
{
	denied(umount2("/dev/null", MNT_DETACH), 0, "unmount /dev/null");
	denied(umount2("/", MNT_DETACH), 0, "unmount /");
	denied(umount2("/vm", 0), 0, "unmount /vm");
}

static void
modules(void)
{
	denied(syscall(SYS_init_module, "", 0UL, ""), 0, "load a module");
	denied(syscall(SYS_finit_module, 0, "", 0), 0, "load a module from a file");
	denied(syscall(SYS_delete_module, "hostile", O_NONBLOCK), 0, "unload a module");
	denied(syscall(SYS_kexec_load, 0UL, 0UL, NULL, 0UL), 0, "load a kernel");
}

/* With the right, the magic number would be found wrong: EINVAL. */
static void
reboots(void)
{
	denied(syscall(SYS_reboot, 0, 0, LINUX_REBOOT_CMD_CAD_OFF, NULL), 0, "reboot");
}

static void
swaps(void)
{
	denied(swapon("/vm/firmware.rom", 0), 0, "swap to a file");
	denied(swapoff("/vm/firmware.rom"), 0, "end swapping");
	denied(acct("/vm/firmware.rom"), 0, "start accounting");
}

static void
settings(void)
{
	static const char *const paths[] = { "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe",
		"/proc/sys/net/ipv4/ip_forward", "/sys/kernel/uevent_helper", "/sys/fs/cgroup/cgroup.procs" };
	size_t i;

	for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		denied(open(paths[i], O_WRONLY), 0, "open %s", paths[i]);
}

static void
kernel_log(void)
{
	char text[64];

	denied(klogctl(3, text, sizeof(text)), 0, "read the kernel's messages");
	denied(klogctl(6, NULL, 0), 0, "silence the kernel");
}

static void
perf(void)
{
	struct perf_event_attr how = { .type = PERF_TYPE_SOFTWARE, .size = sizeof(how), .config = PERF_COUNT_SW_CPU_CLOCK };

	denied(syscall(SYS_perf_event_open, &how, -1, 0, -1, 0), 0, "count events of a CPU");
	how.exclude_kernel = 1;
	denied(syscall(SYS_perf_event_open, &how, 0, -1, -1, 0), 0, "count its own events");
}

static void
bpf(void)
{
	union bpf_attr how;

	memset(&how, 0, sizeof(how));
	how.map_type = BPF_MAP_TYPE_ARRAY;
	how.key_size = how.value_size = 4;
	how.max_entries = 1;
	denied(syscall(SYS_bpf, BPF_MAP_CREATE, &how, sizeof(how)), 0, "make a bpf map");
}

static void
io_uring(void)
{
	char parameters[256] = "";

	denied(syscall(SYS_io_uring_setup, 4, parameters), 0, "make an io_uring");
}

static void
userfaultfd(void)
{
	denied(syscall(SYS_userfaultfd, 0), 0, "handle faults of the kernel");
}

/* Nobody else reads it, whoever asks: neither would who looks for what a broken QEMU hides. */
static void
secret_memory(void)
{
	denied(syscall(SYS_memfd_secret, 0), 0, "have memory that the kernel itself does not see");
}

static void
ports(void)
{
#ifdef __x86_64__
	denied(syscall(SYS_iopl, 3), 0, "iopl");
	denied(syscall(SYS_ioperm, 0x80UL, 1UL, 1), 0, "ioperm");
#endif
	denied(open("/dev/port", O_RDWR), 0, "open /dev/port");
}
#else
static struct iovec
text_part(const char *text)
{
	struct iovec vector = { .iov_base = __DECONST(void *, text), .iov_len = strlen(text) + 1 };

	return (vector);
}

/* EINVAL would be late; vfs.usermount and the jail are asked first. Source: nmount(2), vfs_mount.c */
static void
mount_one(const char *type, const char *from, const char *path)
{
	struct iovec parts[] = { text_part("fstype"), text_part(type), text_part("fspath"), text_part(path),
		text_part("from"), text_part(from), text_part("target"), text_part(from) };

	denied(nmount(parts, 8, 0), 0, "mount %s", type);
}

static void
mounts(void)
{
	mount_one("tmpfs", "tmpfs", "/tmp");
	mount_one("devfs", "devfs", "/tmp");
	mount_one("procfs", "proc", "/tmp");
	mount_one("nullfs", "/", "/tmp");
	mount_one("fdescfs", "fdesc", "/tmp");
}

static void
unmounts(void)
{
	static const char *const paths[] = { "/", "/dev", "/tmp", "/vm" };
	size_t i;

	/* A root is no mount point of a jail (EINVAL). */
	for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		denied(unmount(paths[i], MNT_FORCE), EINVAL, "unmount %s", paths[i]);
}

static void
modules(void)
{
	denied(kldload("if_tap"), 0, "load a module");
	denied(kldload("/vm/hostile"), 0, "load a module from a file");
	denied(kldunload(1), 0, "unload the kernel");
}

static void
reboots(void)
{
	denied(reboot(RB_NOSYNC | RB_AUTOBOOT), 0, "reboot");
}

static void
swaps(void)
{
	denied(swapon("/vm/hostile"), 0, "swap to a file");
	denied(acct("/vm/hostile"), 0, "start accounting");
}

static void
set_number(const char *name, int value)
{
	denied(sysctlbyname(name, NULL, NULL, &value, sizeof(value)), 0, "set %s", name);
}

static void
settings(void)
{
	set_number("kern.securelevel", -1);
	set_number("security.bsd.see_other_uids", 1);
	set_number("security.bsd.unprivileged_proc_debug", 1);
	set_number("net.inet.ip.forwarding", 1);
	set_number("kern.maxproc", 100);
	set_number("security.jail.enforce_statfs", 0);
	denied(sysctlbyname("kern.corefile", NULL, NULL, "/x", 3), 0, "set kern.corefile");
}

static void
kernel_environment(void)
{
	char value[] = "1";

	denied(kenv(KENV_SET, "hostile", value, sizeof(value)), 0, "set the kernel's environment");
}

static void
kernel_log(void)
{
	denied(open("/dev/klog", O_RDONLY), 0, "open /dev/klog");
}
#endif

const struct attempt kernel_attempts[] = {
	{ "mount", "mount file systems", mounts },
	{ "unmount", "unmount its own", unmounts },
	{ "mknod", "make device nodes", make_nodes },
	{ "modules", "load and unload modules", modules },
	{ "reboot", "restart the host", reboots },
	{ "clock", "set the clock", clocks },
	{ "hostname", "rename the host", host_name },
	{ "settings", "change settings of the kernel", settings },
	{ "swap", "use a file as swap, or for accounting", swaps },
	{ "kernel-log", "read the kernel's messages", kernel_log },
#ifdef __linux__
	{ "perf", "count events of others", perf },
	{ "bpf", "run code in the kernel", bpf },
	{ "io-uring", "use the kernel's least tried interface", io_uring },
	{ "userfaultfd", "stop the kernel in the middle of a copy", userfaultfd },
	{ "secret-memory", "hide memory from the kernel", secret_memory },
	{ "io-ports", "use ports of the hardware", ports },
#else
	{ "kenv", "change the kernel's environment", kernel_environment },
#endif
	END
};
