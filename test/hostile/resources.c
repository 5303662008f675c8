/* Taking so much that the host or other VMs have too little. Every attempt is bounded, in case that it works. */
#include "hostile.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_PROCESSES 500
#define MOST_FILES 4096
#define MOST_TMP_BYTES (64 << 20)
#define MOST_TMP_FILES 100000
#define MOST_MEMORY_BYTES (2L << 30)
#define FLOOD_SECONDS 1

static void
fork_bomb(void)
{
	int count;
	pid_t child = 0;

	for (count = 0; count < MOST_PROCESSES && (child = fork()) != -1; count++)
		if (child == 0) {
			pause();
			_exit(0);
		}
	if (count == MOST_PROCESSES)
		escaped("%d processes", count);
	held("%d processes, then: %s", count, strerror(errno));
}

static void *
sleeping_thread(void *nothing)
{
	pause();
	return (nothing);
}

static void
thread_bomb(void)
{
	pthread_attr_t small;
	pthread_t thread;
	int count, error = 0;

	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 64 << 10);
	for (count = 0; count < MOST_PROCESSES; count++)
		if ((error = pthread_create(&thread, &small, sleeping_thread, NULL)) != 0)
			break;
	if (count == MOST_PROCESSES)
		escaped("%d threads", count);
	held("%d threads, then: %s", count, strerror(error));
}

static void
descriptors(void)
{
	int count;

	for (count = 0; count < MOST_FILES && open("/dev/null", O_RDONLY) != -1; count++)
		continue;
	if (count == MOST_FILES)
		escaped("%d descriptors", count);
	held("%d descriptors, then: %s", count, strerror(errno));
}

static void
tmp_bytes(void)
{
	static char block[1 << 16];
	long written = 0;
	ssize_t got = 0;
	int fd = open("/tmp/hostile-fill", O_WRONLY | O_CREAT, 0600), error;

	if (fd == -1)
		held("there is no /tmp: %s", strerror(errno));
	while (written < MOST_TMP_BYTES && (got = write(fd, block, sizeof(block))) > 0)
		written += got;
	error = errno;
	unlink("/tmp/hostile-fill");
	if (written >= MOST_TMP_BYTES)
		escaped("wrote %ld bytes to /tmp", written);
	held("wrote %ld bytes to /tmp, then: %s", written, strerror(error));
}

static void
remove_tmp_files(int count)
{
	char path[64];

	while (count-- > 0) {
		snprintf(path, sizeof(path), "/tmp/hostile-%d", count);
		rmdir(path);
	}
}

static void
tmp_files(void)
{
	char path[64];
	int count, error;

	for (count = 0; count < MOST_TMP_FILES; count++) {
		snprintf(path, sizeof(path), "/tmp/hostile-%d", count);
		if (mkdir(path, 0700) == -1)
			break;
	}
	error = errno;
	remove_tmp_files(count);
	if (count == MOST_TMP_FILES)
		escaped("%d directories in /tmp", count);
	held("%d directories in /tmp, then: %s", count, strerror(error));
}

/* A core has all of the guest's memory, and may be read by a program of the host. */
static void
core(void)
{
	struct rlimit limit;
	int status;
	pid_t child;

	if (getrlimit(RLIMIT_CORE, &limit) == -1 || limit.rlim_max > 1)
		escaped("a core may have %lu bytes", (unsigned long)limit.rlim_max);
	if ((child = fork()) == -1)
		untried("fork: %s", strerror(errno));
	if (child == 0) {
		signal(SIGABRT, SIG_DFL);
		abort();
	}
	if (waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WCOREDUMP(status))
		escaped("the kernel dumped a core");
	held("aborted without a core");
}

/* Nobody may be reading: whoever waits is this program. A child of its own, since its write never returns. */
static void
flood(void)
{
	static char block[4096];
	pid_t child = fork();
	int flags = fcntl(1, F_GETFL);

	if (child == -1 || flags == -1)
		untried("cannot begin: %s", strerror(errno));
	fcntl(1, F_SETFL, flags & ~O_NONBLOCK);
	memset(block, '!', sizeof(block));
	while (child == 0 && write(1, block, sizeof(block)) != -1)
		continue;
	if (child == 0)
		_exit(0);
	sleep(FLOOD_SECONDS);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	held("wrote for %d s; whether the host cares is for the host to say", FLOOD_SECONDS);
}

#ifdef __linux__
/* The child takes memory page by page. Its own end by SIGKILL is the kernel's answer. */
static void
memory(void)
{
	int status;
	pid_t child = fork();

	if (child == -1)
		untried("fork: %s", strerror(errno));
	if (child == 0) {
		char *bytes = mmap(NULL, MOST_MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		long at;

		for (at = 0; bytes != MAP_FAILED && at < MOST_MEMORY_BYTES; at += 4096)
			bytes[at] = 1;
		_exit(bytes == MAP_FAILED ? 2 : 0);
	}
	if (waitpid(child, &status, 0) != child || (WIFEXITED(status) && WEXITSTATUS(status) == 0))
		escaped("took %ld bytes of memory", MOST_MEMORY_BYTES);
	held("ended with status %#x before it had %ld bytes", (unsigned)status, MOST_MEMORY_BYTES);
}
#endif

const struct attempt resource_attempts[] = {
	{ "fork-bomb", "start processes without end", fork_bomb },
	{ "thread-bomb", "start threads without end", thread_bomb },
	{ "descriptors", "open files without end", descriptors },
	{ "tmp-bytes", "fill /tmp", tmp_bytes },
	{ "tmp-files", "fill /tmp with directories", tmp_files },
	{ "core", "leave a core", core },
	{ "flood", "write to its console without end", flood },
#ifdef __linux__
	{ "memory", "take memory without end", memory },
#endif
	END
};
