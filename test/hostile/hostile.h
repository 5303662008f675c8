/* A process that tries to get out of its jail. Attempts are in one table for each subject. */
#ifndef HOSTILE_H
#define HOSTILE_H

#ifdef __linux__
#define _GNU_SOURCE
#endif
#include <sys/types.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

/* What it is told of its surroundings: NAME=VALUE arguments. NULL or -1: not told. */
struct target {
	long uid;                /* of another VM */
	long pid;                /* of another VM's process */
	long own_pid;            /* of a process of the same uid that is there by right */
	long shm;                /* id of a System V segment on the host, mode 0666 */
	const char *run;         /* another VM's run directory */
	const char *disk;        /* another VM's disk */
	const char *tap;         /* another VM's interface */
	const char *own_disk;    /* a file disk of its own */
	const char *machine;     /* another VM in vmm(4) */
	const char *socket;      /* brigd's */
	const char *address;     /* IPv4, of the host */
	const char *abstract;    /* name of an abstract UNIX socket on the host */
	const char *canary;      /* a file of the host that everybody may read and write */
	const char *interfaces;  /* comma list of its own interfaces */
	const char *devices;     /* comma list of nodes that are there by right; a trailing * is any rest */
	const char *writable;    /* comma list of paths that it may write by right; a trailing * is any rest */
};
extern struct target target;

struct attempt {
	const char *name;
	const char *what;
	void (*function)(void);
};
#define END { NULL, NULL, NULL }

extern const struct attempt file_attempts[], write_attempts[], process_attempts[], namespace_attempts[],
    network_attempts[], kernel_attempts[], device_attempts[], resource_attempts[];

/* Verdicts. Each ends the attempt; an attempt that just returns has held, by what was refused last. */
_Noreturn void held(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void escaped(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void untried(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Takes what a system call returned: anything but -1 is an escape, and so is an error that comes only after the
 * check of rights would have passed. Denials are EPERM, EACCES, EROFS, ENOENT, ENOSYS, EOPNOTSUPP and `also` (0: no
 * other).
 */
void denied(long result, int also, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Ends the attempt as untried without the value. */
const char *needs(const char *value, const char *name);
long needs_number(long value, const char *name);

/* True when a comma list has `text`, or a beginning of it with *. */
bool listed(const char *list, const char *text);

/* Descriptors that were open when the program began, beyond 0-2; at most `inherited_count`. */
#define INHERITED_MAX 64
extern int inherited[INHERITED_MAX];
extern int inherited_count;

/* Process that runs the attempts, and who started it (0: outside). */
extern pid_t leader, starter;

/* True when a descriptor is the host's canary. */
bool is_canary(int fd);

#endif
