/* Runs every attempt in a process of its own and tells how it ended. See README.md. */
#include "hostile.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TIMEOUT_SECONDS 20
#define VERDICT_BYTES 400

struct target target = { .uid = -1, .pid = -1, .own_pid = -1, .shm = -1 };
int inherited[INHERITED_MAX];
int inherited_count;
pid_t leader, starter;

static const struct attempt *const tables[] = { file_attempts, write_attempts, process_attempts, namespace_attempts,
	network_attempts, kernel_attempts, device_attempts, resource_attempts };
#define TABLES (sizeof(tables) / sizeof(tables[0]))

static int verdict_fd;
static char last_refusal[VERDICT_BYTES / 2] = "nothing worked";
static FILE *report;

/* One write of less than PIPE_BUF: the parent reads all of it or nothing. */
static _Noreturn void
verdict(char kind, const char *format, va_list args)
{
	char text[VERDICT_BYTES];

	text[0] = kind;
	vsnprintf(text + 1, sizeof(text) - 1, format, args);
	if (write(verdict_fd, text, strlen(text)) == -1)
		_exit(1);
	_exit(0);
}

_Noreturn void
held(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	verdict('h', format, args);
}

_Noreturn void
escaped(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	verdict('E', format, args);
}

_Noreturn void
untried(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	verdict('u', format, args);
}

static bool
is_denial(int error)
{
	return (error == EPERM || error == EACCES || error == EROFS || error == ENOENT || error == ENOSYS ||
	    error == EOPNOTSUPP);
}

void
denied(long result, int also, const char *format, ...)
{
	int error = errno;
	char what[VERDICT_BYTES / 4];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	if (result != -1)
		escaped("%s worked", what);
	if (!is_denial(error) && (also == 0 || error != also))
		escaped("%s got as far as: %s", what, strerror(error));
	snprintf(last_refusal, sizeof(last_refusal), "%s: %s", what, strerror(error));
}

const char *
needs(const char *value, const char *name)
{
	if (value == NULL)
		untried("%s= is not told", name);
	return (value);
}

long
needs_number(long value, const char *name)
{
	if (value == -1)
		untried("%s= is not told", name);
	return (value);
}

bool
listed(const char *list, const char *text)
{
	size_t length, same;

	for (; list != NULL && *list != '\0'; list += length + (list[length] == ',')) {
		length = strcspn(list, ",");
		same = strlen(text);
		if (length > 0 && list[length - 1] == '*') {
			if (strncmp(list, text, length - 1) == 0)
				return (true);
		} else if (length == same && strncmp(list, text, length) == 0)
			return (true);
	}
	return (false);
}

bool
is_canary(int fd)
{
	char text[6] = "";

	return (pread(fd, text, 5, 0) == 5 && strcmp(text, "brig!") == 0);
}

/* The child's side. Its group is its own, so that all it leaves can be ended. */
static _Noreturn void
attempt_it(const struct attempt *attempt)
{
	setpgid(0, 0);
	attempt->function();
	held("%s", last_refusal);
}

static long
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec * 1000 + now.tv_nsec / 1000000);
}

/* Bytes of the verdict; 0: the child ended without one, -1: it took too long. */
static ssize_t
read_verdict(int fd, char *text)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	long deadline = now_ms() + TIMEOUT_SECONDS * 1000, left;

	while ((left = deadline - now_ms()) > 0) {
		if (poll(&poll_fd, 1, (int)left) == -1 && errno == EINTR)
			continue;
		return (poll_fd.revents == 0 ? -1 : read(fd, text, VERDICT_BYTES - 1));
	}
	return (-1);
}

static void
tell_end(int status, bool late, char *text)
{
	if (late)
		snprintf(text, VERDICT_BYTES, "utook more than %d s", TIMEOUT_SECONDS);
	else if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGSYS || WTERMSIG(status) == SIGKILL))
		snprintf(text, VERDICT_BYTES, "hended by signal %d", WTERMSIG(status));
	else
		snprintf(text, VERDICT_BYTES, "uended with status %#x and said nothing", (unsigned)status);
}

/* Ends what an attempt left, even what is still being made. */
static void
clean_up(pid_t child)
{
	int i;

	for (i = 0; i < 100 && kill(-child, SIGKILL) == 0; i++)
		usleep(1000);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		continue;
}

/* Returns the kind of the verdict: h, E or u. */
static char
run(const struct attempt *attempt)
{
	char text[VERDICT_BYTES] = "";
	int pipes[2], status = 0;
	pid_t child;
	ssize_t got;

	if (pipe(pipes) == -1 || (child = fork()) == -1) {
		fprintf(report, "untried %s: cannot fork: %s\n", attempt->name, strerror(errno));
		return ('u');
	}
	if (child == 0) {
		close(pipes[0]);
		verdict_fd = pipes[1];
		attempt_it(attempt);
	}
	close(pipes[1]);
	got = read_verdict(pipes[0], text);
	close(pipes[0]);
	if (got < 0)
		kill(child, SIGKILL);
	waitpid(child, &status, 0);
	clean_up(child);
	if (got <= 0)
		tell_end(status, got < 0, text);
	fprintf(report, "%s %s: %s\n", text[0] == 'h' ? "held" : text[0] == 'E' ? "ESCAPED" : "untried", attempt->name,
	    text + 1);
	fflush(report);
	return (text[0]);
}

static void
list(void)
{
	const struct attempt *attempt;
	size_t i;

	for (i = 0; i < TABLES; i++)
		for (attempt = tables[i]; attempt->name != NULL; attempt++)
			printf("%s\t%s\n", attempt->name, attempt->what);
}

static int
run_all(const char *only)
{
	const struct attempt *attempt;
	int attempts = 0, escapes = 0, untrieds = 0;
	size_t i;
	char kind;

	for (i = 0; i < TABLES; i++)
		for (attempt = tables[i]; attempt->name != NULL; attempt++) {
			if (only != NULL && !listed(only, attempt->name))
				continue;
			kind = run(attempt);
			attempts++;
			escapes += kind == 'E';
			untrieds += kind == 'u';
		}
	fprintf(report, "%d attempts, %d escaped, %d untried\n", attempts, escapes, untrieds);
	fflush(report);
	return (attempts > 0 && escapes == 0 && untrieds == 0 ? 0 : 1);
}

/* One NAME=VALUE argument; false when there is no such name. */
static bool
tell(const char *argument)
{
	const struct { const char *name; const char **text; long *number; } known[] = {
		{ "victim-uid", NULL, &target.uid }, { "victim-pid", NULL, &target.pid },
		{ "own-pid", NULL, &target.own_pid }, { "shm", NULL, &target.shm },
		{ "victim-run", &target.run, NULL }, { "victim-disk", &target.disk, NULL },
		{ "victim-tap", &target.tap, NULL }, { "victim-machine", &target.machine, NULL },
		{ "socket", &target.socket, NULL }, { "address", &target.address, NULL },
		{ "abstract", &target.abstract, NULL }, { "canary", &target.canary, NULL },
		{ "interfaces", &target.interfaces, NULL }, { "devices", &target.devices, NULL },
		{ "writable", &target.writable, NULL }, { "own-disk", &target.own_disk, NULL },
	};
	size_t i, length = strcspn(argument, "=");

	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strlen(known[i].name) != length || strncmp(argument, known[i].name, length) != 0 || argument[length] == '\0')
			continue;
		if (known[i].text != NULL)
			*known[i].text = argument + length + 1;
		else
			*known[i].number = strtol(argument + length + 1, NULL, 10);
		return (true);
	}
	return (false);
}

static void
note_inherited(void)
{
	struct rlimit limit;
	int fd;

	if (getrlimit(RLIMIT_NOFILE, &limit) == -1 || limit.rlim_cur > 65536)
		limit.rlim_cur = 65536;
	for (fd = 3; fd < (int)limit.rlim_cur && inherited_count < INHERITED_MAX; fd++)
		if (fcntl(fd, F_GETFD) != -1)
			inherited[inherited_count++] = fd;
}

static int
usage(const char *wrong)
{
	fprintf(stderr, "hostile: %s\nusage: hostile [--list] [--stderr] [--ready TEXT] [--only NAME,...] NAME=VALUE...\n",
	    wrong);
	return (64);
}

int
main(int argc, char **argv)
{
	const char *only = NULL;
	int i;

	note_inherited();
	leader = getpid();
	starter = getppid();
	report = stdout;
	signal(SIGPIPE, SIG_IGN);
	for (i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--list") == 0) {
			list();
			return (0);
		} else if (strcmp(argv[i], "--stderr") == 0)
			report = stderr;
		else if (strcmp(argv[i], "--ready") == 0 && i + 1 < argc)
			fprintf(stderr, "%s\n", argv[++i]);
		else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
			only = argv[++i];
		else if (!tell(argv[i]))
			return (usage(argv[i]));
	}
	return (run_all(only));
}
