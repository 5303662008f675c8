/* Other networks, and the host's own addresses. */
#include "hostile.h"

#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <linux/rtnetlink.h>
#include <linux/if_packet.h>
#include <net/route.h>
#define NO_FAMILY EAFNOSUPPORT
#else
#include <net/route.h>
#define NO_FAMILY EPROTONOSUPPORT
#endif

static void
raw_sockets(void)
{
	denied(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), NO_FAMILY, "open a raw IPv4 socket");
	denied(socket(AF_INET, SOCK_RAW, IPPROTO_RAW), NO_FAMILY, "open a raw IP socket");
	denied(socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6), NO_FAMILY, "open a raw IPv6 socket");
#ifdef __linux__
	denied(socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP), NO_FAMILY, "open a ping socket");
	denied(socket(AF_PACKET, SOCK_RAW, 0x0300), NO_FAMILY, "open a packet socket");
	denied(socket(AF_PACKET, SOCK_DGRAM, 0x0300), NO_FAMILY, "open a packet socket for datagrams");
#else
	denied(open("/dev/bpf", O_RDWR), 0, "open /dev/bpf");
#endif
}

/* Errors of a network that knows no way: nobody was asked. FreeBSD has more of them. */
static int
no_way(int error)
{
#ifdef __FreeBSD__
	if (error == EHOSTUNREACH || error == EADDRNOTAVAIL || error == ENETDOWN)
		return (error);
#endif
	return (error == ENETUNREACH ? error : 0);
}

static struct sockaddr_in
host_port(int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((in_port_t)port) };

	if (inet_pton(AF_INET, needs(target.address, "address"), &address.sin_addr) != 1)
		untried("%s is no IPv4 address", target.address);
	return (address);
}

/* A network without routes takes any address to bind to; it is the host's only if something can come there. */
static void
bind_to_host(void)
{
	struct sockaddr_in address = host_port(29999);
	int server = socket(AF_INET, SOCK_DGRAM, 0), client = socket(AF_INET, SOCK_DGRAM, 0);

	if (server == -1 || client == -1)
		denied(-1, NO_FAMILY, "open an IPv4 socket");
	else if (bind(server, (struct sockaddr *)&address, sizeof(address)) == -1)
		denied(-1, EADDRNOTAVAIL, "bind to %s", target.address);
	else
		denied(sendto(client, "x", 1, 0, (struct sockaddr *)&address, sizeof(address)), ENETUNREACH,
		    "bind to %s and send there", target.address);
}

/* A refusal by the host itself would be an answer: only "no way there" counts. */
static void
connect_to_host(void)
{
	static const int ports[] = { 22, 53, 80, 111, 443, 2049 };
	size_t i;

	for (i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
		struct sockaddr_in address = host_port(ports[i]);
		int tcp = socket(AF_INET, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0);

		if (tcp == -1 || udp == -1) {
			denied(-1, NO_FAMILY, "open an IPv4 socket");
			continue;
		}
		long result = connect(tcp, (struct sockaddr *)&address, sizeof(address));
		denied(result, no_way(errno), "connect to %s:%d", target.address, ports[i]);
		result = sendto(udp, "x", 1, 0, (struct sockaddr *)&address, sizeof(address));
		denied(result, no_way(errno), "send to %s:%d", target.address, ports[i]);
		close(tcp);
		close(udp);
	}
}

/* The other way to the host's stack needs no address: all nodes of the link. */
static void
link_local(void)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_port = htons(9) };
	struct if_nameindex *interfaces = if_nameindex(), *each;
	int fd = socket(AF_INET6, SOCK_DGRAM, 0);

	inet_pton(AF_INET6, "ff02::1", &address.sin6_addr);
	for (each = interfaces; fd != -1 && each != NULL && each->if_index != 0; each++) {
		address.sin6_scope_id = each->if_index;
		if (sendto(fd, "x", 1, 0, (struct sockaddr *)&address, sizeof(address)) != -1)
			escaped("sent a datagram to all nodes of %s", each->if_name);
	}
	held("no interface sends");
}

static void
see_interfaces(void)
{
	struct if_nameindex *each = if_nameindex();

	needs(target.interfaces, "interfaces");
	for (; each != NULL && each->if_index != 0; each++)
		if (strncmp(each->if_name, "lo", 2) != 0 && !listed(target.interfaces, each->if_name))
			escaped("sees interface %s", each->if_name);
	held("sees none but %s", target.interfaces);
}

static void
see_addresses(void)
{
	struct ifaddrs *all, *each;
	char text[64] = "";

	if (getifaddrs(&all) == -1)
		held("cannot list addresses");
	for (each = all; each != NULL; each = each->ifa_next) {
		/* Its own loopback leads nowhere. */
		if (each->ifa_addr == NULL || strncmp(each->ifa_name, "lo", 2) == 0)
			continue;
		if (each->ifa_addr->sa_family == AF_INET)
			inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)each->ifa_addr)->sin_addr, text, sizeof(text));
		else if (each->ifa_addr->sa_family == AF_INET6)
			inet_ntop(AF_INET6, &((struct sockaddr_in6 *)(void *)each->ifa_addr)->sin6_addr, text, sizeof(text));
		if (text[0] != '\0')
			escaped("%s has the address %s", each->ifa_name, text);
	}
	held("no interface has an address");
}

#ifdef __FreeBSD__
/* SIOCSIFADDR is no more; this one asks for the right first. Source: in_control_ioctl() of netinet/in.c */
static void
alias(int fd, const char *name)
{
	struct ifaliasreq request;
	struct sockaddr_in address = { .sin_len = sizeof(address), .sin_family = AF_INET };

	memset(&request, 0, sizeof(request));
	inet_pton(AF_INET, "10.99.99.99", &address.sin_addr);
	snprintf(request.ifra_name, sizeof(request.ifra_name), "%s", name);
	memcpy(&request.ifra_addr, &address, sizeof(address));
	denied(ioctl(fd, SIOCAIFADDR, &request), 0, "give %s an address", name);
}
#else
static void
alias(int fd, const char *name)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	struct ifreq request;

	memset(&request, 0, sizeof(request));
	inet_pton(AF_INET, "10.99.99.99", &address.sin_addr);
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	memcpy(&request.ifr_addr, &address, sizeof(address));
	denied(ioctl(fd, SIOCSIFADDR, &request), 0, "give %s an address", name);
}
#endif

static void
fill_request(struct ifreq *request, const char *name)
{
	memset(request, 0, sizeof(*request));
	snprintf(request->ifr_name, sizeof(request->ifr_name), "%s", name);
}

static void
add_address(void)
{
	struct if_nameindex *each = if_nameindex();
	struct ifreq request;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	for (; fd != -1 && each != NULL && each->if_index != 0; each++) {
		alias(fd, each->if_name);
		fill_request(&request, each->if_name);
		request.ifr_flags = IFF_UP;
		denied(ioctl(fd, SIOCSIFFLAGS, &request), 0, "bring %s up", each->if_name);
		fill_request(&request, each->if_name);
		request.ifr_mtu = 1400;
		denied(ioctl(fd, SIOCSIFMTU, &request), 0, "change the MTU of %s", each->if_name);
	}
}

#ifdef __linux__
static void
netlink(int type, const char *what)
{
	struct { struct nlmsghdr head; unsigned char body[64]; } message = { .head = { .nlmsg_len = sizeof(message),
		.nlmsg_type = (unsigned short)type, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE } };
	struct { struct nlmsghdr head; struct nlmsgerr error; unsigned char rest[256]; } answer;
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);

	message.body[0] = AF_INET;
	if (fd == -1 || send(fd, &message, sizeof(message), 0) == -1 || recv(fd, &answer, sizeof(answer), 0) == -1) {
		denied(-1, NO_FAMILY, "netlink, %s", what);
		return;
	}
	errno = -answer.error.error;
	denied(errno == 0 ? 0 : -1, 0, "%s", what);
	close(fd);
}

static void
add_route(void)
{
	struct rtentry route;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	memset(&route, 0, sizeof(route));
	route.rt_dst.sa_family = route.rt_gateway.sa_family = route.rt_genmask.sa_family = AF_INET;
	route.rt_flags = RTF_UP;
	denied(fd == -1 ? -1 : ioctl(fd, SIOCADDRT, &route), NO_FAMILY, "add a route");
	netlink(RTM_NEWROUTE, "add a route by netlink");
	netlink(RTM_NEWADDR, "add an address by netlink");
}

static void
add_interface(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	denied(fd == -1 ? -1 : ioctl(fd, SIOCBRADDBR, "hostile0"), NO_FAMILY, "make a bridge");
	netlink(RTM_NEWLINK, "make an interface by netlink");
	netlink(RTM_DELLINK, "remove an interface by netlink");
	netlink(RTM_NEWNEIGH, "add a neighbour by netlink");
	netlink(RTM_NEWQDISC, "add a queue by netlink");
}

static void
abstract_socket(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t length = strlen(needs(target.abstract, "abstract"));
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "%s", target.abstract);
	denied(connect(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length)),
	    ECONNREFUSED, "connect to @%s", target.abstract);
}

/* No network namespace holds AF_VSOCK: it leads to the hypervisor and to other VMs. Only opened, never used. */
static void
vsock(void)
{
	denied(socket(AF_VSOCK, SOCK_STREAM, 0), NO_FAMILY, "open a vsock socket");
}

/* Families that a hypervisor never needs, each a part of the kernel that a process could attack. */
/* The kernel tells every network namespace of a host what devices come and go. Source: lib/kobject_uevent.c */
static void
uevents(void)
{
	denied(socket(AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT), NO_FAMILY, "listen to the host's devices");
	denied(socket(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT), NO_FAMILY, "talk to the host's audit");
}

static void
rare_families(void)
{
	static const int families[] = { AF_ALG, AF_KEY, AF_CAN, AF_TIPC, AF_BLUETOOTH, AF_NFC, AF_RDS, AF_XDP, AF_QIPCRTR,
		AF_SMC, AF_X25, AF_AX25 };
	size_t i;

	for (i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
		int fd = socket(families[i], families[i] == AF_ALG ? SOCK_SEQPACKET : SOCK_RAW, 0);
		denied(fd, errno == EINVAL || errno == ESOCKTNOSUPPORT || errno == EPROTONOSUPPORT ? errno : NO_FAMILY,
		    "open a socket of family %d", families[i]);
	}
}
#else
static void
add_route(void)
{
	struct { struct rt_msghdr head; struct sockaddr_in to, by; } message;
	int fd = socket(PF_ROUTE, SOCK_RAW, 0);

	memset(&message, 0, sizeof(message));
	message.head.rtm_msglen = sizeof(message);
	message.head.rtm_version = RTM_VERSION;
	message.head.rtm_type = RTM_ADD;
	message.head.rtm_flags = RTF_UP | RTF_HOST | RTF_GATEWAY;
	message.head.rtm_addrs = RTA_DST | RTA_GATEWAY;
	message.to.sin_len = message.by.sin_len = sizeof(struct sockaddr_in);
	message.to.sin_family = message.by.sin_family = AF_INET;
	inet_pton(AF_INET, "10.99.99.99", &message.to.sin_addr);
	inet_pton(AF_INET, "10.99.99.1", &message.by.sin_addr);
	denied(fd == -1 ? -1 : write(fd, &message, sizeof(message)), NO_FAMILY, "add a route");
}

static void
add_interface(void)
{
	static const char *const kinds[] = { "bridge", "tap", "epair", "lo", "vlan", "gif" };
	struct ifreq request;
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		memset(&request, 0, sizeof(request));
		snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", kinds[i]);
		/* Sockets of other families than IP take no such requests at all (EOPNOTSUPP). */
		denied(ioctl(fd, SIOCIFCREATE2, &request), EOPNOTSUPP, "make a %s interface", kinds[i]);
	}
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	for (i = 0; fd != -1 && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		memset(&request, 0, sizeof(request));
		snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", kinds[i]);
		denied(ioctl(fd, SIOCIFCREATE2, &request), 0, "make a %s interface by IP", kinds[i]);
	}
}
#endif

const struct attempt network_attempts[] = {
	{ "raw-sockets", "open raw and packet sockets", raw_sockets },
	{ "bind-host", "bind to an address of the host", bind_to_host },
	{ "connect-host", "reach an address of the host", connect_to_host },
	{ "link-local", "reach the host by IPv6 without an address", link_local },
	{ "interfaces", "see interfaces of others", see_interfaces },
	{ "addresses", "find an interface with an address", see_addresses },
	{ "add-address", "change interfaces", add_address },
	{ "add-route", "add a route", add_route },
	{ "add-interface", "make and remove interfaces", add_interface },
#ifdef __linux__
	{ "abstract-socket", "connect to an abstract UNIX socket of the host", abstract_socket },
	{ "vsock", "open a socket to the hypervisor", vsock },
	{ "uevents", "hear of the host's devices", uevents },
	{ "rare-families", "open sockets of families that no VM needs", rare_families },
#endif
	END
};
