/* Device nodes that are not the VM's, and what may be done with those that are. */
#include "hostile.h"

#include <sys/ioctl.h>
#include <sys/stat.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/if_tun.h>
#include <net/if.h>
#else
#include <sys/sysctl.h>
/* VM_MAX_NAMELEN of FreeBSD 13 and later. Source: dev/vmm/vmm_dev.h, vmm_param.h */
struct vmmctl_vm_destroy {
	char name[230];
	int reserved[16];
};
#define VMMCTL_VM_DESTROY _IOWR('V', 1, struct vmmctl_vm_destroy)
/* Of the same shape: flags were reserved before. */
#define VMMCTL_VM_CREATE _IOWR('V', 0, struct vmmctl_vm_destroy)
#endif

static void
host_nodes(void)
{
	static const char *const names[] = { "mem", "kmem", "pci", "io", "zfs", "pf", "bpf", "bpf0", "kvm", "sda", "vda",
		"ada0", "da0", "nda0", "nvme0", "nvme0ns1", "vtbd0", "xpt0", "pass0", "cam", "fd0", "cd0", "geom.ctl", "devctl",
		"devctl2", "dtrace/dtrace", "kcore", "port", "loop0", "loop-control", "fuse", "mapper/control", "vhost-net",
		"vhost-vsock", "vsock", "vfio/vfio", "uinput", "rtc0", "console", "consolectl", "ttyv0", "tty0", "ttyS0", "tty",
		"ttyu0", "klog", "kmsg", "cpu/0/msr", "cpuctl0", "dri/card0", "fb0", "hpet", "mei0", "nsmb0", "auditpipe",
		"random-seed", "snapshot", "userfaultfd", "shm", "mqueue", "netmap", "bpsm", "iov/ix0", "ppt0" };
	char path[64];
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "/dev/%s", names[i]);
		if (!listed(target.devices, path))
			denied(open(path, O_RDONLY | O_NONBLOCK), 0, "open %s", path);
	}
}

/* Nodes that are made when somebody looks for them. Source: dev_clone(9) */
static void
cloning_nodes(void)
{
	static const char *const names[] = { "nmdm99A", "nmdm99B", "tap", "tap99", "tun", "tun99", "vmnet99", "ptmx", "pts/0",
		"ptyp0", "md", "md99", "mdctl", "net/tun", "net/tap99", "fd/3", "led/x", "usb/0.1.0", "ugen0.1", "zvol/x",
		"speaker", "snp0", "dsp0", "cuse", "hidraw0", "loop99" };
	char path[64];
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "/dev/%s", names[i]);
		if (!listed(target.devices, path))
			denied(open(path, O_RDWR | O_NONBLOCK), 0, "open %s", path);
	}
}

static int seen;

static void
list_nodes(const char *dir, int depth)
{
	char path[512];
	struct stat status;
	struct dirent *entry;
	DIR *open_dir = opendir(dir);

	while (open_dir != NULL && (entry = readdir(open_dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
		if (lstat(path, &status) == -1)
			continue;
		if (S_ISDIR(status.st_mode) && depth < 8) {
			list_nodes(path, depth + 1);
			continue;
		}
		seen++;
		if (!listed(target.devices, path))
			escaped("sees %s", path);
	}
	if (open_dir != NULL)
		closedir(open_dir);
}

static void
strange_nodes(void)
{
	needs(target.devices, "devices");
	list_nodes("/dev", 0);
	held("%d nodes, each by right", seen);
}

#ifdef __linux__
static void
take_tap(const char *name, short flags)
{
	struct ifreq request;
	int fd = open("/dev/net/tun", O_RDWR);

	memset(&request, 0, sizeof(request));
	request.ifr_flags = flags;
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	denied(fd == -1 ? -1 : ioctl(fd, TUNSETIFF, &request), 0, "take %s", name);
}

static void
victim_tap(void)
{
	take_tap(needs(target.tap, "victim-tap"), IFF_TAP | IFF_NO_PI);
}

static void
new_tap(void)
{
	take_tap("hostile0", IFF_TAP | IFF_NO_PI);
	take_tap("hostile0", IFF_TUN | IFF_NO_PI);
	take_tap("hostile0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE);
}

/* By right it reads and writes frames; it may not keep the tap, give it away or leave its network by it. */
static void
own_tap(void)
{
	struct ifreq request;
	int fd = open("/dev/net/tun", O_RDWR);
	const char *name = strstr(needs(target.interfaces, "interfaces"), "tap");

	if (name == NULL)
		untried("interfaces= names no tap");
	memset(&request, 0, sizeof(request));
	request.ifr_flags = IFF_TAP | IFF_NO_PI;
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%.*s", (int)strcspn(name, ","), name);
	if (fd == -1 || ioctl(fd, TUNSETIFF, &request) == -1)
		untried("cannot take %s: %s", request.ifr_name, strerror(errno));
	denied(ioctl(fd, TUNGETDEVNETNS, 0), 0, "a descriptor of the network namespace");
	/* Its own MAC address is its owner's to change, by SIOCSIFHWADDR: a guest has any, too. */
	denied(ioctl(fd, TUNSETLINK, 24), EBUSY, "change the kind of %s", request.ifr_name);
}
#else
static void
victim_machine(void)
{
	char path[256];

	snprintf(path, sizeof(path), "/dev/vmm/%s", needs(target.machine, "victim-machine"));
	denied(open(path, O_RDWR), 0, "open %s", path);
	snprintf(path, sizeof(path), "/dev/vmm.io/%s.bootrom", target.machine);
	denied(open(path, O_RDWR), 0, "open %s", path);
	snprintf(path, sizeof(path), "/dev/vmm.io/%s.sysmem", target.machine);
	denied(open(path, O_RDWR), 0, "open %s", path);
}

/* The new way, on a node that it has by right: a machine of another jail must not be found (EINVAL). */
static void
victim_destroy(void)
{
	struct vmmctl_vm_destroy request;
	int fd = open("/dev/vmmctl", O_RDWR);

	memset(&request, 0, sizeof(request));
	snprintf(request.name, sizeof(request.name), "%s", needs(target.machine, "victim-machine"));
	denied(fd == -1 ? -1 : ioctl(fd, VMMCTL_VM_DESTROY, &request), fd == -1 ? 0 : EINVAL, "destroy %s", request.name);
}

/* Names are the host's, one flat space: the name must stay its owner's, whoever sees it. */
static void
victim_name(void)
{
	struct vmmctl_vm_destroy request;
	int fd = open("/dev/vmmctl", O_RDWR);

	memset(&request, 0, sizeof(request));
	snprintf(request.name, sizeof(request.name), "%s", needs(target.machine, "victim-machine"));
	denied(fd == -1 ? -1 : ioctl(fd, VMMCTL_VM_CREATE, &request), fd == -1 ? 0 : EEXIST, "make a %s", request.name);
}

/* The old way to make and destroy machines; the sysctls are root's. Source: vmm_dev.c */
static void
machine_sysctls(void)
{
	const char *name = needs(target.machine, "victim-machine");
	char old[256];
	size_t length = sizeof(old);

	denied(sysctlbyname("hw.vmm.destroy", old, &length, name, strlen(name) + 1), 0, "destroy %s", name);
	denied(sysctlbyname("hw.vmm.create", old, &length, "hostile", 8), 0, "make a machine");
}
#endif

const struct attempt device_attempts[] = {
	{ "host-nodes", "open nodes of the host", host_nodes },
	{ "cloning-nodes", "open nodes that are made by looking for them", cloning_nodes },
	{ "strange-nodes", "find a node in /dev beyond its own", strange_nodes },
#ifdef __linux__
	{ "victim-tap", "take another VM's tap", victim_tap },
	{ "new-tap", "make a tap", new_tap },
	{ "own-tap", "change its own tap", own_tap },
#else
	{ "victim-machine", "open another VM's nodes of vmm(4)", victim_machine },
	{ "victim-destroy", "destroy another VM by vmmctl", victim_destroy },
	{ "victim-name", "make a machine of another VM's name by vmmctl", victim_name },
	{ "machine-sysctls", "make and destroy machines by sysctl(3)", machine_sysctls },
#endif
	END
};
