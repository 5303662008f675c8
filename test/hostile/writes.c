/* Writing: every directory and file that can be reached is tried. */
#include "hostile.h"

#include <sys/stat.h>
#include <sys/time.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEPTH 12

static int visited;

typedef void visitor(const char *path, const struct stat *status);

/* Calls `visit` for all below a directory, and for itself; follows no links. */
static void
walk(const char *path, int depth, visitor *visit)
{
	char below[1024];
	struct stat status;
	struct dirent *entry;
	DIR *dir;

	if (depth > DEPTH || lstat(path, &status) == -1)
		return;
	visited++;
	visit(path, &status);
	if (!S_ISDIR(status.st_mode) || (dir = opendir(path)) == NULL)
		return;
	while ((entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		snprintf(below, sizeof(below), "%s%s%s", path, strcmp(path, "/") == 0 ? "" : "/", entry->d_name);
		walk(below, depth + 1, visit);
	}
	closedir(dir);
}

static void
create_in(const char *dir, const struct stat *status)
{
	char path[1100];

	if (!S_ISDIR(status->st_mode) || listed(target.writable, dir))
		return;
	snprintf(path, sizeof(path), "%s/hostile-new", dir);
	denied(open(path, O_WRONLY | O_CREAT, 0600), 0, "create a file in %s", dir);
	denied(mkdir(path, 0700), 0, "create a directory in %s", dir);
	denied(symlink("/", path), 0, "create a symbolic link in %s", dir);
	denied(mkfifo(path, 0600), 0, "create a FIFO in %s", dir);
	denied(link("/", path), 0, "create a link in %s", dir);
}

static void
create_anywhere(void)
{
	walk("/", 0, create_in);
	held("not in any of %d paths", visited);
}

/* Nodes of devices are for other attempts; a FIFO without a reader is opened without waiting (ENXIO). */
static void
write_to(const char *path, const struct stat *status)
{
	if (listed(target.writable, path) || S_ISCHR(status->st_mode) || S_ISLNK(status->st_mode))
		return;
	if (!S_ISDIR(status->st_mode))
		denied(open(path, O_WRONLY | O_NONBLOCK), ETXTBSY, "open %s for writing", path);
	if (S_ISREG(status->st_mode))
		denied(truncate(path, status->st_size), ETXTBSY, "truncate %s", path);
}

static void
write_anywhere(void)
{
	walk("/", 0, write_to);
	held("not to any of %d paths", visited);
}

static void
change(const char *path, const struct stat *status)
{
	char other[1100];

	if (listed(target.writable, path) || S_ISLNK(status->st_mode))
		return;
	/* The modes of its own nodes are its own: each jail's devfs keeps them apart. */
	if (S_ISCHR(status->st_mode) && status->st_uid == getuid())
		return;
	snprintf(other, sizeof(other), "%s-hostile", path);
	denied(chmod(path, status->st_mode & 07777), 0, "chmod %s", path);
	denied(chown(path, 0, 0), 0, "chown %s", path);
	/* Who may write to a device may touch its node. */
	if (!S_ISCHR(status->st_mode))
		denied(utimes(path, NULL), 0, "utimes %s", path);
	/* The root has no name to lose. */
	if (strcmp(path, "/") == 0)
		return;
	/* Mount points are busy before anybody asks for rights. */
	denied(rename(path, other), EBUSY, "rename %s", path);
	denied(S_ISDIR(status->st_mode) ? rmdir(path) : unlink(path), EBUSY, "remove %s", path);
}

static void
change_anything(void)
{
	walk("/", 0, change);
	held("none of %d paths", visited);
}

static void
no_set_id(const char *path, const struct stat *status)
{
	if (S_ISREG(status->st_mode) && (status->st_mode & (S_ISUID | S_ISGID)) != 0)
		escaped("%s runs as another user", path);
}

static void
set_id_files(void)
{
	walk("/", 0, no_set_id);
	held("none among %d paths", visited);
}

static void
no_stranger(const char *path, const struct stat *status)
{
	if (status->st_uid != 0 && status->st_uid != 65534 && status->st_uid != getuid())
		escaped("%s is of uid %u", path, (unsigned)status->st_uid);
}

static void
files_of_others(void)
{
	walk("/", 0, no_stranger);
	held("none among %d paths", visited);
}

#ifdef __linux__
/* Whoever on the host reaches the disk would run what is in it as the VM's uid. */
static void
setuid_disk(void)
{
	const char *disk = needs(target.own_disk, "own-disk");

	denied(chmod(disk, 04755), 0, "make the own disk setuid");
	denied(fchmodat(AT_FDCWD, disk, 02755, 0), 0, "make the own disk setgid");
}

/* Past its size there is the host's file system. On FreeBSD only the file system bounds a file. */
static void
grow_disk(void)
{
	const off_t far = (off_t)1 << 40;
	int fd = open(needs(target.own_disk, "own-disk"), O_RDWR);

	signal(SIGXFSZ, SIG_IGN);
	denied(ftruncate(fd, far), EFBIG, "make the own disk larger");
	denied(pwrite(fd, "x", 1, far), EFBIG, "write far behind its end");
	errno = posix_fallocate(fd, 0, far);
	denied(errno == 0 ? 0 : -1, EFBIG, "take room for it");
}
#endif

const struct attempt write_attempts[] = {
	{ "create-anywhere", "create a file, directory, link or FIFO in each directory", create_anywhere },
	{ "write-anywhere", "open each file and FIFO for writing", write_anywhere },
	{ "change-anything", "chmod, chown, touch, rename and remove each path", change_anything },
	{ "setuid-files", "find a program that runs as another user", set_id_files },
	{ "files-of-others", "find a file of another VM's uid", files_of_others },
#ifdef __linux__
	{ "setuid-disk", "make its own disk a program that runs as its uid", setuid_disk },
	{ "grow-disk", "fill the host by its own disk", grow_disk },
#endif
	END
};
