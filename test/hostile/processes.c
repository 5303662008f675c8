/* Other processes and other users. */
#include "hostile.h"

#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#else
#include <sys/param.h>
#include <sys/cpuset.h>
#include <sys/procctl.h>
#include <sys/rtprio.h>
#include <sys/sysctl.h>
#include <sys/user.h>
#endif

#define MOST_PIDS 99999

static void
kill_init(void)
{
	/* Not there is as good as not allowed. */
	denied(kill(1, SIGKILL), ESRCH, "kill process 1");
}

static void
kill_parent(void)
{
	denied(kill(starter > 0 ? starter : 1, SIGKILL), ESRCH, "kill %d, the parent", (int)starter);
}

static void
kill_victim(void)
{
	pid_t pid = (pid_t)needs_number(target.pid, "victim-pid");

	denied(kill(pid, SIGKILL), ESRCH, "kill %d", (int)pid);
	denied(kill(-pid, SIGKILL), ESRCH, "kill the group of %d", (int)pid);
}

/* kill(-1) is left out: it would end this program, by right. */
static void
kill_everybody(void)
{
	int pid;

	for (pid = 1; pid <= MOST_PIDS; pid++) {
		if (pid == getpid() || pid == leader || pid == target.own_pid)
			continue;
		/* A thread of the leader or a zombie of an earlier attempt is in its session. */
		if (kill(pid, 0) == 0 && getsid(pid) != getsid(0))
			escaped("may signal %d", pid);
	}
	held("no process up to %d takes a signal", MOST_PIDS);
}

/* Process 1 of the sandbox is all that may be seen beside. */
static void
see_others(void)
{
	int pid;

	for (pid = 2; pid <= MOST_PIDS; pid++) {
		if (pid == getpid() || pid == leader || pid == target.own_pid)
			continue;
		if (kill(pid, 0) == -1 && errno == EPERM)
			escaped("process %d of another user is there", pid);
	}
	held("no process up to %d is of another user", MOST_PIDS);
}

static void
trace(pid_t pid, const char *who)
{
#ifdef __linux__
	struct iovec here = { .iov_base = &pid, .iov_len = sizeof(pid) }, there = { .iov_base = (void *)0x400000,
		.iov_len = sizeof(pid) };

	denied(ptrace(PTRACE_ATTACH, pid, NULL, NULL), ESRCH, "ptrace %s", who);
	denied(ptrace(PTRACE_SEIZE, pid, NULL, NULL), ESRCH, "seize %s", who);
	denied(process_vm_readv(pid, &here, 1, &there, 1, 0), ESRCH, "read the memory of %s", who);
	denied(process_vm_writev(pid, &here, 1, &there, 1, 0), ESRCH, "write the memory of %s", who);
	denied(syscall(SYS_kcmp, pid, getpid(), 0, 0, 0), ESRCH, "kcmp %s", who);
#else
	int mib[] = { CTL_KERN, KERN_PROC, KERN_PROC_PID, pid }, trace_off = PROC_TRACE_CTL_DISABLE;
	struct kinfo_proc info;
	size_t length = sizeof(info);

	denied(ptrace(PT_ATTACH, pid, NULL, 0), ESRCH, "ptrace %s", who);
	denied(sysctl(mib, 4, &info, &length, NULL, 0), ESRCH, "ask the kernel for %s", who);
	denied(procctl(P_PID, pid, PROC_TRACE_CTL, &trace_off), ESRCH, "procctl %s", who);
#endif
}

static void
trace_others(void)
{
	trace(1, "process 1");
	trace((pid_t)needs_number(target.pid, "victim-pid"), "the victim");
}

static void
bother_victim(void)
{
	pid_t pid = (pid_t)needs_number(target.pid, "victim-pid");
	struct rlimit limit = { 1, 1 };

	denied(setpriority(PRIO_PROCESS, (id_t)pid, 20), ESRCH, "setpriority of the victim");
	denied(setpriority(PRIO_USER, (id_t)needs_number(target.uid, "victim-uid"), 20), ESRCH, "setpriority of its user");
#ifdef __linux__
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	denied(sched_setaffinity(pid, sizeof(set), &set), ESRCH, "sched_setaffinity of the victim");
	denied(prlimit(pid, RLIMIT_NOFILE, &limit, NULL), ESRCH, "prlimit of the victim");
#else
	cpuset_t set;

	(void)limit;
	CPU_ZERO(&set);
	CPU_SET(0, &set);
	denied(cpuset_setaffinity(CPU_LEVEL_WHICH, CPU_WHICH_PID, pid, sizeof(set), &set), ESRCH,
	    "cpuset_setaffinity of the victim");
#endif
}

static void
become(uid_t id)
{
	denied(setuid(id), 0, "setuid %u", (unsigned)id);
	denied(seteuid(id), 0, "seteuid %u", (unsigned)id);
	denied(setreuid(id, id), 0, "setreuid %u", (unsigned)id);
	denied(setresuid(id, id, id), 0, "setresuid %u", (unsigned)id);
	denied(setgid(id), 0, "setgid %u", (unsigned)id);
	denied(setegid(id), 0, "setegid %u", (unsigned)id);
	denied(setresgid(id, id, id), 0, "setresgid %u", (unsigned)id);
}

static void
become_root(void)
{
	become(0);
}

static void
become_victim(void)
{
	become((uid_t)needs_number(target.uid, "victim-uid"));
}

static void
join_groups(void)
{
	gid_t groups[64] = { 0, getgid() };
	int count;

	denied(setgroups(2, groups), 0, "setgroups to root's");
	denied(setgroups(0, NULL), 0, "setgroups to none");
	/* Groups that brigd had. Its own may be there once more (FACTS S.2). */
	for (count = getgroups(64, groups); count > 0; count--)
		if (groups[count - 1] != getgid())
			escaped("is in group %u", (unsigned)groups[count - 1]);
}

static void
raise_priority(void)
{
#ifdef __linux__
	struct sched_param param = { .sched_priority = 1 };

	denied(sched_setscheduler(0, SCHED_FIFO, &param), 0, "become a realtime process");
	/* IOPRIO_WHO_PROCESS, class RT. */
	denied(syscall(SYS_ioprio_set, 1, 0, 1 << 13), 0, "realtime I/O");
#else
	struct rtprio param = { .type = RTP_PRIO_REALTIME, .prio = 0 };

	denied(rtprio(RTP_SET, 0, &param), 0, "become a realtime process");
#endif
	denied(setpriority(PRIO_PROCESS, 0, -20), 0, "setpriority -20");
}

static void
raise_limits(void)
{
	static const int which[] = { RLIMIT_NPROC, RLIMIT_NOFILE, RLIMIT_CORE };
	struct rlimit limit;
	size_t i;

	for (i = 0; i < sizeof(which) / sizeof(which[0]); i++) {
		if (getrlimit(which[i], &limit) == -1 || limit.rlim_max == RLIM_INFINITY)
			escaped("limit %d is infinite", which[i]);
		limit.rlim_max++;
		denied(setrlimit(which[i], &limit), 0, "raise limit %d", which[i]);
	}
}

#ifdef __linux__
/* A core of no bytes is still piped to a program of the host, which 1 byte stops: the limit must not be lowered. */
static void
lower_core(void)
{
	struct rlimit none = { 0, 0 };

	denied(setrlimit(RLIMIT_CORE, &none), 0, "lower the limit of cores to 0");
}
#endif

const struct attempt process_attempts[] = {
	{ "kill-init", "kill process 1", kill_init },
	{ "kill-parent", "kill whoever started it", kill_parent },
	{ "kill-victim", "kill another VM's process", kill_victim },
	{ "kill-everybody", "signal any process", kill_everybody },
	{ "see-others", "see processes of other users", see_others },
	{ "ptrace", "trace or read process 1 and another VM's process", trace_others },
	{ "bother-victim", "slow another VM down: priority, CPUs, limits", bother_victim },
	{ "become-root", "change its uid and gid to root's", become_root },
	{ "become-victim", "change its uid and gid to another VM's", become_victim },
	{ "groups", "join groups, or keep brigd's", join_groups },
	{ "priority", "become a realtime process", raise_priority },
	{ "raise-limits", "raise its own limits", raise_limits },
#ifdef __linux__
	{ "lower-core", "have its core handed to a program of the host", lower_core },
#endif
	END
};
