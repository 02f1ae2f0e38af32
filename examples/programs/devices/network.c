// SPDX-License-Identifier: GPL-2.0-only
/* A network device, and a family of generic netlink. */
#include "devices.h"

#include <arpa/inet.h>
#include <linux/genetlink.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>

static int control;

static struct sockaddr_in address_of(const char *text, int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };

	inet_aton(text, &address.sin_addr);
	return address;
}

static void set_address(int request, const char *text)
{
	struct ifreq about = { .ifr_name = "wire0" };

	*(struct sockaddr_in *)&about.ifr_addr = address_of(text, 0);
	show(text, ioctl(control, request, &about));
}

static void set_flags(int flags)
{
	struct ifreq about = { .ifr_name = "wire0" };

	about.ifr_flags = flags;
	show("SIOCSIFFLAGS", ioctl(control, SIOCSIFFLAGS, &about));
	show("SIOCGIFFLAGS", ioctl(control, SIOCGIFFLAGS, &about));
	printf("  %#x\n", (unsigned short)about.ifr_flags);
}

static unsigned short sum(const unsigned short *words, size_t size)
{
	unsigned total = 0;

	for (; size; size -= 2)
		total += *words++;
	total = (total >> 16) + (total & 0xffff);
	return ~(total + (total >> 16));
}

static void ping(int kind, const char *text)
{
	struct sockaddr_in to = address_of(text, 0);
	struct { struct icmphdr head; char text[8]; } echo = { { .type = ICMP_ECHO }, "payload" };
	int file = socket(AF_INET, kind, IPPROTO_ICMP), headers = kind == SOCK_RAW ? 20 : 0;
	struct timeval second = { 1, 0 };
	char answer[100];

	setsockopt(file, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof(second));
	echo.head.un.echo.id = htons(7);
	echo.head.un.echo.sequence = htons(1);
	echo.head.checksum = sum((void *)&echo, sizeof(echo));
	show("ping", sendto(file, &echo, sizeof(echo), 0, (void *)&to, sizeof(to)));
	if (show("answer", recv(file, answer, sizeof(answer), 0)) > 0)
		printf("  type %d, \"%s\"\n", answer[headers], answer + headers + 8);
	close(file);
}

void wire(void)
{
	struct sockaddr_in to = address_of("10.1.2.9", 4321), from;
	struct sockaddr_ll raw = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct ifreq about = { .ifr_name = "wire0" };
	socklen_t size = sizeof(from);
	char text[100];
	int file;

	control = socket(AF_INET, SOCK_DGRAM, 0);
	show("SIOCGIFHWADDR", ioctl(control, SIOCGIFHWADDR, &about));
	printf("  %02x:%02x\n", (unsigned char)about.ifr_hwaddr.sa_data[0], about.ifr_hwaddr.sa_data[5]);
	show("SIOCGIFMTU", ioctl(control, SIOCGIFMTU, &about));
	printf("  %d\n", about.ifr_mtu);
	about.ifr_mtu = 9000;
	show("SIOCSIFMTU", ioctl(control, SIOCSIFMTU, &about));
	show("send without a route", sendto(control, "x", 1, 0, (void *)&to, sizeof(to)));
	set_address(SIOCSIFADDR, "10.1.2.3");
	set_address(SIOCSIFNETMASK, "255.255.255.0");
	set_flags(IFF_UP | IFF_RUNNING);
	show_file("/sys/class/net/wire0/operstate");
	show_file("/sys/class/net/wire0/address");
	ping(SOCK_RAW, "10.1.2.9");
	ping(SOCK_DGRAM, "10.1.2.10");
	put("/proc/sys/net/ipv4/ping_group_range", "0 0");
	ping(SOCK_DGRAM, "10.1.2.10");
	file = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
	ioctl(file, SIOCGIFINDEX, &about);
	raw.sll_ifindex = about.ifr_ifindex;
	show("bind of a packet socket", bind(file, (void *)&raw, sizeof(raw)));
	show("sendto", sendto(control, "hello", 5, 0, (void *)&to, sizeof(to)));
	show("recvfrom", recvfrom(control, text, sizeof(text), 0, (void *)&from, &size));
	printf("  \"%.5s\" from %s:%d\n", text, inet_ntoa(from.sin_addr), ntohs(from.sin_port));
	show("frame", recv(file, text, sizeof(text), 0));
	show("frame", recv(file, text, sizeof(text), 0));
	show("no other frame", recv(file, text, sizeof(text), MSG_DONTWAIT));
	show("connect", connect(control, (void *)&to, sizeof(to)));
	show("send", send(control, text, 2000, 0));
	set_flags(0);
	show("send on a device that is down", send(control, "x", 1, 0));
	close(file);
	close(control);
}

static struct {
	struct nlmsghdr head;
	struct genlmsghdr genl;
	char rest[500];
} message;

static void add(int type, const void *data, int size)
{
	struct nlattr *attribute = (void *)&message + NLMSG_ALIGN(message.head.nlmsg_len);

	attribute->nla_type = type;
	attribute->nla_len = NLA_HDRLEN + size;
	memcpy(attribute + 1, data, size);
	message.head.nlmsg_len = NLMSG_ALIGN(message.head.nlmsg_len) + NLA_ALIGN(attribute->nla_len);
}

static void begin(int type, int flags, int command)
{
	memset(&message, 0, sizeof(message));
	message.head.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN);
	message.head.nlmsg_type = type;
	message.head.nlmsg_flags = NLM_F_REQUEST | flags;
	message.head.nlmsg_seq = 1;
	message.genl.cmd = command;
	message.genl.version = 1;
}

/* Send it, and return the type of the first answer, or the negative errno that it is. */
static long ask(int file)
{
	char answer[8192];
	struct nlmsghdr *head = (void *)answer;

	send(file, &message, message.head.nlmsg_len, 0);
	recv(file, answer, sizeof(answer), 0);
	if (head->nlmsg_type == NLMSG_ERROR) {
		errno = -*(int *)NLMSG_DATA(head);
		return errno ? -1 : 0;
	}
	memcpy(&message, answer, head->nlmsg_len < sizeof(message) ? head->nlmsg_len : sizeof(message));
	return head->nlmsg_type;
}

static struct nlattr *find(void *at, void *end, int type)
{
	struct nlattr *attribute;

	for (; at < end; at += NLA_ALIGN(attribute->nla_len)) {
		attribute = at;
		if ((attribute->nla_type & NLA_TYPE_MASK) == type || !attribute->nla_len)
			return attribute;
	}
	return NULL;
}

void herald(void)
{
	int file = socket(AF_NETLINK, SOCK_RAW, NETLINK_GENERIC), news = socket(AF_NETLINK, SOCK_RAW, NETLINK_GENERIC);
	struct pollfd ready = { file, POLLIN, 0 };
	void *attributes = message.rest;
	struct nlattr *group;
	int family, number, total = 0, messages = 0;

	begin(GENL_ID_CTRL, 0, CTRL_CMD_GETFAMILY);
	add(CTRL_ATTR_FAMILY_NAME, "no such", 8);
	show("no family", ask(file));
	begin(GENL_ID_CTRL, 0, CTRL_CMD_GETFAMILY);
	add(CTRL_ATTR_FAMILY_NAME, "herald", 7);
	show("family", ask(file) == GENL_ID_CTRL);
	family = *(unsigned short *)(find(attributes, message.rest + 500, CTRL_ATTR_FAMILY_ID) + 1);
	group = find(attributes, message.rest + 500, CTRL_ATTR_MCAST_GROUPS);
	number = *(int *)(find(group + 2, message.rest + 500, CTRL_ATTR_MCAST_GRP_ID) + 1);
	show("join", setsockopt(news, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &number, sizeof(number)));
	begin(family, 0, 1);
	add(1, "hear, hear", 11);
	show("say", ask(file) == family);
	printf("  \"%s\", %d\n", (char *)(find(attributes, message.rest + 500, 1) + 1),
	       *(int *)(find(attributes, message.rest + 500, 2) + 1));
	show("news", recv(news, &message, sizeof(message), MSG_DONTWAIT));
	begin(family, NLM_F_ACK, 1);
	show("say nothing", ask(file));
	begin(family, 0, 1);
	add(1, "more than forty characters are more than it takes", 50);
	show("say too much", ask(file));
	begin(family, 0, 9);
	show("no such command", ask(file));
	begin(family, NLM_F_DUMP, 2);
	send(file, &message, message.head.nlmsg_len, 0);
	while (poll(&ready, 1, 100) > 0) {
		char part[32768];
		ssize_t left = recv(file, part, sizeof(part), 0);
		struct nlmsghdr *head = (void *)part;

		for (; NLMSG_OK(head, left) && head->nlmsg_type != NLMSG_DONE; head = NLMSG_NEXT(head, left)) {
			total += *(int *)(NLMSG_DATA(head) + GENL_HDRLEN + NLA_HDRLEN);
			messages++;
		}
	}
	show("numbers", messages);
	show("their sum", total);
	seteuid(1000);
	begin(family, 0, 1);
	add(1, "hear", 5);
	show("say without rights", ask(file));
	seteuid(0);
	close(news);
	close(file);
}
