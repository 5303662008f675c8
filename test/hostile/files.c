/* Files of the host, of brigd and of other VMs, by name, by link, by handle and by descriptor. */
#include "hostile.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#ifdef __FreeBSD__
#include <sys/param.h>
#include <sys/mount.h>
#include <sys/procctl.h>
#endif
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void
open_all_ways(const char *path)
{
	denied(open(path, O_RDONLY | O_NONBLOCK), 0, "open %s", path);
	denied(open(path, O_WRONLY | O_NONBLOCK), ENXIO, "open %s for writing", path);
	denied(open(path, O_WRONLY | O_CREAT | O_NONBLOCK, 0600), ENXIO, "create %s", path);
	denied(chmod(path, 0777), 0, "chmod %s", path);
	denied(unlink(path), 0, "unlink %s", path);
}

static void
victim_disk(void)
{
	open_all_ways(needs(target.disk, "victim-disk"));
}

static void
victim_run(void)
{
	const char *run = needs(target.run, "victim-run");
	static const char *const names[] = { "con.in", "con.out", "err", "err.in", "vm", "root", "stop", "sandbox.args" };
	char path[1024];
	size_t i;

	denied(opendir(run) == NULL ? -1 : 0, 0, "list %s", run);
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", run, names[i]);
		open_all_ways(path);
	}
}

static void
brigd_socket(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", needs(target.socket, "socket"));
	denied(fd == -1 ? -1 : connect(fd, (struct sockaddr *)&address, sizeof(address)), 0, "connect to %s", target.socket);
}

static void
host_files(void)
{
	static const char *const paths[] = { "/etc/passwd", "/etc/master.passwd", "/etc/shadow", "/root", "/home", "/var/run",
		"/var/db", "/boot", "/sys", "/run", "/etc" };
	size_t i;

	denied(open(needs(target.canary, "canary"), O_RDWR), 0, "open %s", target.canary);
	for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		denied(open(paths[i], O_RDONLY), 0, "open %s", paths[i]);
}

/* The canary by every relative way, from wherever the process is now. */
static void
find_canary(const char *how)
{
	char path[1024] = "";
	int i, fd;

	for (i = 0; i < 16; i++)
		strcat(path, "../");
	strcat(path, target.canary + 1);
	fd = open(path, O_RDONLY);
	if (fd != -1 && is_canary(fd))
		escaped("read %s %s", path, how);
}

static void
dot_dot(void)
{
	needs(target.canary, "canary");
	find_canary("from the start");
	denied(chdir("/") == -1 ? -1 : open(target.canary + 1, O_RDONLY), 0, "open the canary from /");
	find_canary("from /");
}

static void
symlinks(void)
{
	static const char *const dirs[] = { "/tmp", "/disk", "/vm", "/dev", "/" };
	char link[64], path[1024];
	size_t i;

	needs(target.canary, "canary");
	for (i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		snprintf(link, sizeof(link), "%s/hostile-link", dirs[i]);
		if (symlink("/../../../../../../../../", link) == -1)
			continue;
		snprintf(path, sizeof(path), "%s%s", link, target.canary);
		denied(open(path, O_RDONLY), 0, "open %s through a symbolic link", target.canary);
		unlink(link);
	}
	held("no symbolic link led out");
}

/* The old way out of a chroot: enter a second one with a descriptor of the first at hand, and go up. */
static void
chroot_walk(void)
{
	int root = open("/", O_RDONLY | O_DIRECTORY);

	needs(target.canary, "canary");
#ifdef PROC_NO_NEW_PRIVS_CTL
	int on = PROC_NO_NEW_PRIVS_ENABLE;
	procctl(P_PID, getpid(), PROC_NO_NEW_PRIVS_CTL, &on);
#endif
	if (chroot("/dev") == 0 || chroot("/tmp") == 0) {
		if (fchdir(root) == 0)
			find_canary("after a second chroot");
		escaped("chroot worked");
	}
	denied(-1, 0, "chroot");
}

static void
by_handle(void)
{
#ifdef __linux__
	struct { struct file_handle head; unsigned char bytes[128]; } handle = { .head.handle_bytes = 128 };
	int mount, root = open("/", O_RDONLY | O_DIRECTORY);

	/* Ext4's root directory is inode 2: a handle that needs no lookup. */
	handle.head.handle_bytes = 8;
	handle.head.handle_type = 1;
	handle.bytes[0] = 2;
	denied(open_by_handle_at(root, &handle.head, O_RDONLY), 0, "open_by_handle_at");
	handle.head.handle_bytes = 128;
	if (name_to_handle_at(AT_FDCWD, "/dev/null", &handle.head, &mount, 0) == 0) {
		int null = open("/dev/null", O_RDONLY);
		denied(open_by_handle_at(null, &handle.head, O_RDONLY), 0, "open_by_handle_at of /dev/null");
	}
#else
	fhandle_t handle;

	denied(getfh("/", &handle), 0, "getfh");
	memset(&handle, 0, sizeof(handle));
	denied(fhopen(&handle, O_RDONLY), 0, "fhopen");
#endif
}

static const char *
type_of(mode_t mode)
{
	return (S_ISDIR(mode) ? "directory" : S_ISFIFO(mode) ? "FIFO" : S_ISSOCK(mode) ? "socket" :
	    S_ISCHR(mode) ? "character device" : S_ISBLK(mode) ? "block device" : S_ISREG(mode) ? "file" : "other");
}

static void
inherited_descriptors(void)
{
	char text[256] = "";
	struct stat status;
	int i;

	for (i = 0; i < inherited_count; i++) {
		size_t used = strlen(text);
		if (fstat(inherited[i], &status) == -1)
			status.st_mode = 0;
		snprintf(text + used, sizeof(text) - used, " %d (%s, inode %lu)", inherited[i], type_of(status.st_mode),
		    (unsigned long)status.st_ino);
	}
	if (inherited_count > 0)
		escaped("open beyond 0-2:%s", text);
	held("nothing is open beyond 0-2");
}

/* 0-2 are FIFOs of the VM or /dev/null, never something to walk or talk with. */
static void
standard_descriptors(void)
{
	struct stat status;
	int fd;

	for (fd = 0; fd < 3; fd++) {
		if (fstat(fd, &status) == -1)
			continue;
		if (S_ISDIR(status.st_mode) || S_ISSOCK(status.st_mode) || S_ISBLK(status.st_mode) || isatty(fd))
			escaped("descriptor %d is a %s", fd, isatty(fd) ? "terminal" : type_of(status.st_mode));
		denied(fchmod(fd, 0666), EINVAL, "fchmod %d", fd);
		denied(fchdir(fd), ENOTDIR, "fchdir %d", fd);
	}
}

static void
proc_files(void)
{
	static const char *const paths[] = { "/proc", "/proc/1/root", "/proc/self/exe", "/proc/sysrq-trigger",
		"/proc/sys/kernel/core_pattern", "/proc/kcore", "/compat/linux/proc", "/dev/fd", "/sys/fs/cgroup" };
	size_t i;

	for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		denied(open(paths[i], O_RDONLY), 0, "open %s", paths[i]);
}

const struct attempt file_attempts[] = {
	{ "victim-disk", "open another VM's disk", victim_disk },
	{ "victim-run-directory", "look into another VM's run directory, use its FIFOs", victim_run },
	{ "brigd-socket", "connect to brigd", brigd_socket },
	{ "host-files", "open files of the host by their names", host_files },
	{ "dot-dot", "climb out of the root with ..", dot_dot },
	{ "symlinks", "follow own symbolic links out of the root", symlinks },
	{ "chroot-walk", "enter a second root and climb out of the first", chroot_walk },
	{ "file-handles", "open files by handle, without a name", by_handle },
	{ "inherited-descriptors", "find descriptors beyond 0-2", inherited_descriptors },
	{ "standard-descriptors", "walk or change what 0-2 are", standard_descriptors },
	{ "proc", "read /proc and its like", proc_files },
	END
};
