/* Other roots, other namespaces, other jails; what processes share without files. */
#include "hostile.h"

#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/keyctl.h>
#include <sys/syscall.h>
#include <signal.h>
#else
#include <sys/param.h>
#include <sys/jail.h>
#include <sys/mount.h>
#include <sys/uio.h>
#endif

#ifdef __linux__
static void
unshare_each(void)
{
	static const struct { const char *name; int flag; } spaces[] = { { "mount", CLONE_NEWNS }, { "pid", CLONE_NEWPID },
		{ "network", CLONE_NEWNET }, { "ipc", CLONE_NEWIPC }, { "uts", CLONE_NEWUTS }, { "cgroup", CLONE_NEWCGROUP } };
	size_t i;

	for (i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++)
		denied(unshare(spaces[i].flag), 0, "unshare the %s namespace", spaces[i].name);
}

/* The gate to everything that the kernel allows its own root only. */
static void
user_namespace(void)
{
	denied(unshare(CLONE_NEWUSER), ENOSPC, "unshare the user namespace");
}

static void
user_namespace_by_clone(void)
{
	long child = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);

	if (child == 0)
		_exit(0);
	denied(child, ENOSPC, "clone into a user namespace");
}

static void
user_namespace_by_clone3(void)
{
	struct { unsigned long flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls; } how = {
		.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD };
	long child = syscall(SYS_clone3, &how, sizeof(how));

	if (child == 0)
		_exit(0);
	denied(child, ENOSPC, "clone3 into a user namespace");
}

static void
join_namespaces(void)
{
	int pid = (int)syscall(SYS_pidfd_open, getpid(), 0);

	denied(setns(pid, CLONE_NEWNS | CLONE_NEWNET), 0, "setns by a pidfd");
	denied(syscall(SYS_pidfd_open, 1, 0) == -1 ? -1 : setns((int)syscall(SYS_pidfd_open, 1, 0), CLONE_NEWNS), 0,
	    "setns to process 1's");
}

/* A keyring that came with exec(2) is open to whoever has it, of whatever uid. */
static void
session_keyring(void)
{
	char text[256] = "";

	if (syscall(SYS_keyctl, KEYCTL_DESCRIBE, KEY_SPEC_SESSION_KEYRING, text, sizeof(text) - 1) == -1) {
		denied(-1, ENOKEY, "describe the session keyring");
		return;
	}
	if (strstr(text, "keyring;") == text && (uid_t)atol(text + 8) != getuid())
		escaped("has somebody's session keyring: %s", text);
	held("the session keyring is its own: %s", text);
}

static void
keyrings(void)
{
	denied(syscall(SYS_add_key, "user", "hostile", "x", 1, KEY_SPEC_USER_KEYRING), 0, "add a key");
	denied(syscall(SYS_request_key, "user", "hostile", "x", KEY_SPEC_USER_KEYRING), 0, "request a key");
	denied(syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL), 0, "join a keyring");
}
#else
static struct iovec
part(const void *base, size_t length)
{
	struct iovec vector = { .iov_base = __DECONST(void *, base), .iov_len = length };

	return (vector);
}

#define TEXT(text) part(text, strlen(text) + 1)

/* Parameters of jail_set(2) are pairs, a flag's value is empty. */
static void
make_jail(void)
{
	struct iovec parameters[] = { TEXT("name"), TEXT("hostile"), TEXT("path"), TEXT("/"), TEXT("persist"), part(NULL, 0) };

	denied(jail_set(parameters, 6, JAIL_CREATE), 0, "jail_set");
	parameters[4] = TEXT("allow.raw_sockets");
	denied(jail_set(parameters + 4, 2, JAIL_UPDATE), EINVAL, "jail_set of its own");
}

static void
join_jails(void)
{
	int jid;

	for (jid = 0; jid < 1000; jid++) {
		denied(jail_attach(jid), EINVAL, "jail_attach %d", jid);
		denied(jail_remove(jid), EINVAL, "jail_remove %d", jid);
	}
}

static void
see_jails(void)
{
	char name[256] = "", last[4] = "";
	int jid = 0;
	struct iovec parameters[] = { TEXT("lastjid"), part(&jid, sizeof(jid)), TEXT("name"), part(name, sizeof(name)) };

	(void)last;
	denied(jail_get(parameters, 4, 0), 0, "jail_get of any");
}
#endif

/* The segment was made on the host and is open to everybody. */
static void
sysv_shm(void)
{
	int id = (int)needs_number(target.shm, "shm");
	void *at = shmat(id, NULL, 0);

	denied(at == (void *)-1 ? -1 : 0, EINVAL, "attach System V segment %d", id);
}

/* Without the name of one: there must be no System V memory at all in a jail. */
static void
sysv_own(void)
{
#ifdef __FreeBSD__
	denied(shmget(0x62726967, 4096, IPC_CREAT | 0666), 0, "make a System V segment");
#else
	struct shmid_ds status;
	int index, id;

	for (index = 0; index < 1000; index++)
		if ((id = shmctl(index, SHM_STAT, &status)) != -1)
			escaped("sees System V segment %d", id);
	held("no System V segment is there");
#endif
}

/* FreeBSD keeps the names of each jail apart; on Linux they are files of /dev/shm. */
static void
posix_shm(void)
{
	denied(shm_open("/brig-canary", O_RDWR, 0), 0, "open another's POSIX memory");
#ifdef __linux__
	denied(shm_open("/hostile", O_RDWR | O_CREAT, 0600), 0, "make POSIX memory");
#endif
}

const struct attempt namespace_attempts[] = {
#ifdef __linux__
	{ "namespaces", "make namespaces", unshare_each },
	{ "user-namespace", "become root of a user namespace", user_namespace },
	{ "user-namespace-clone", "the same by clone(2)", user_namespace_by_clone },
	{ "user-namespace-clone3", "the same by clone3(2)", user_namespace_by_clone3 },
	{ "join-namespaces", "join namespaces of others", join_namespaces },
	{ "session-keyring", "have the session keyring of whoever started it", session_keyring },
	{ "keyrings", "keep keys in the kernel", keyrings },
#else
	{ "make-jail", "make a jail, or change its own", make_jail },
	{ "join-jails", "attach to or remove jails", join_jails },
	{ "see-jails", "list jails", see_jails },
#endif
	{ "sysv-shm", "attach the host's System V memory", sysv_shm },
	{ "sysv-segments", "find or make System V memory", sysv_own },
	{ "posix-shm", "open POSIX memory of others", posix_shm },
	END
};
