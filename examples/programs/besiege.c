// SPDX-License-Identifier: GPL-2.0-only
/* What a program may do to its kernel's other programs, files and tables, one attack a word; without a word, their names. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define KERNEL		0xffffffff81000000UL
#define DIRECT		0xffff888000000000UL
#define STUBS		0xffffffffbe000000UL

static char page[4096] __attribute__((aligned(4096)));

static void set(const char *path, const char *text)
{
	int file = open(path, O_WRONLY);

	write(file, text, strlen(text));
	close(file);
}

/* Write to the memory of another process, by every way that there is. */
static void memory_of(int pid)
{
	char path[64];
	unsigned long at[] = { 0, 0x400000, (unsigned long)page, 0x7ffffffff000, DIRECT, KERNEL, STUBS, -4096 };
	unsigned n;
	int file;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	file = open(path, O_RDWR);
	for (n = 0; n < sizeof(at) / sizeof(*at); n++) {
		struct iovec local = { page, 64 }, remote = { (void *)at[n], 64 };

		pread(file, page, 64, at[n]);
		pwrite(file, page, 64, at[n]);
		process_vm_readv(pid, &local, 1, &remote, 1, 0);
		process_vm_writev(pid, &local, 1, &remote, 1, 0);
	}
	ptrace(PTRACE_ATTACH, pid, 0, 0);
	ptrace(PTRACE_SEIZE, pid, 0, -1);
	ptrace(PTRACE_POKEDATA, pid, 8, -1);
	ptrace(PTRACE_SETREGS, pid, 0, page);
	ptrace(PTRACE_KILL, pid, 0, 0);
	kill(pid, SIGSTOP);
	syscall(SYS_prlimit64, pid, RLIMIT_AS, page, page);
	syscall(SYS_sched_setaffinity, pid, 8, page);
	syscall(SYS_migrate_pages, pid, 64, page, page);
	syscall(SYS_move_pages, pid, 1, at, NULL, page, 4);
	syscall(SYS_kcmp, pid, getpid(), 0, 0, 0);
	syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, pid, 0), 0, 0);
	syscall(SYS_process_madvise, syscall(SYS_pidfd_open, pid, 0), at, 1, 4, 0);
}

/* A child that is traced gets registers that no program has. */
static void registers_forged(int which, unsigned long value)
{
	int child = fork();

	if (!child) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		getpid();
		_exit(0);
	}
	waitpid(child, NULL, 0);
	ptrace(PTRACE_POKEUSER, child, which * 8L, value);
	ptrace(PTRACE_POKEUSER, child, 848L + 7 * 8, 0xffff0fff);
	ptrace(PTRACE_SINGLESTEP, child, 0, 0);
	waitpid(child, NULL, WNOHANG);
	ptrace(PTRACE_CONT, child, 0, 0);
	alarm(1);
	waitpid(child, NULL, 0);
}

static void faults_in_user_space(void)
{
	int file = syscall(SYS_userfaultfd, O_NONBLOCK);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register at = { .range = { (unsigned long)page, 4096 }, .mode = 1 };
	char *one = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ioctl(file, UFFDIO_API, &api);
	at.range.start = (unsigned long)one, at.range.len = 8192;
	ioctl(file, UFFDIO_REGISTER, &at);
	alarm(1);
	read(open("/dev/zero", 0), one, 4096); /* by the kernel */
	*(volatile char *)one = 1;
}

static void rings(void)
{
	struct io_uring_params parameters = { .flags = IORING_SETUP_SQPOLL };
	int n, file;

	for (n = 0; n < 40; n++) {
		memset(&parameters, n & 1 ? 0 : 0xff, sizeof(parameters));
		file = syscall(SYS_io_uring_setup, 1 << n % 16, &parameters);
		syscall(SYS_io_uring_enter, file, -1, 1, 1, NULL, 0);
		syscall(SYS_io_uring_register, file, n, page, -1);
		mmap(NULL, 1 << 20, 3, MAP_SHARED, file, 0x10000000);
	}
}

static void programs_of_bpf(void)
{
	union bpf_attr with;
	struct bpf_insn code[] = { { 0xb7, 0, 0, 0, 1 }, { 0x05, 0, 0, -2, 0 }, { 0x95, 0, 0, 0, 0 } };
	int n;

	for (n = 0; n < 40; n++) {
		memset(&with, n & 1 ? 0xff : 0, sizeof(with));
		syscall(SYS_bpf, n, &with, sizeof(with));
	}
	for (n = 0; n < 33; n++) {
		memset(&with, 0, sizeof(with));
		with.prog_type = n, with.insns = (unsigned long)code, with.insn_cnt = 3, with.license = (unsigned long)"GPL";
		syscall(SYS_bpf, BPF_PROG_LOAD, &with, sizeof(with));
		memset(&with, 0, sizeof(with));
		with.map_type = n, with.key_size = 4, with.value_size = 1 << 20, with.max_entries = 1 << 30;
		syscall(SYS_bpf, BPF_MAP_CREATE, &with, sizeof(with));
	}
}

static void counters(void)
{
	struct perf_event_attr with = { .size = sizeof(with) };
	int kind, number;

	for (kind = 0; kind < 8; kind++)
		for (number = 0; number < 12; number++) {
			with.type = kind, with.config = number, with.sample_period = 1;
			syscall(SYS_perf_event_open, &with, 0, -1, -1, 0);
			syscall(SYS_perf_event_open, &with, -1, 0, -1, 0);
		}
}

static void mounts_within_mounts(void)
{
	int n;

	unshare(CLONE_NEWNS);
	mkdir("/m", 0777);
	for (n = 0; n < 16; n++) {
		mount("/", "/m", NULL, MS_BIND | MS_REC, NULL);
		mount(NULL, "/", NULL, MS_SHARED | MS_REC, NULL);
		mount(NULL, "/m", NULL, MS_SLAVE | MS_REC, NULL);
	}
	mount("/proc/self/fd", "/", NULL, MS_MOVE, NULL);
	mount("/", "/m/m", NULL, MS_MOVE, NULL);
	syscall(SYS_pivot_root, "/m", "/m/m");
	umount2("/", MNT_DETACH);
	umount2("/", MNT_FORCE);
	mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL);
	mount("none", "/", "tmpfs", 0, NULL);
	mount("none", "/proc", "tmpfs", 0, NULL);
	mount("none", "/dev", "proc", 0, NULL);
}

static void file_systems_by_parts(void)
{
	static const char *types[] = { "tmpfs", "proc", "sysfs", "devpts", "ramfs", "cgroup2", "bpf", "devtmpfs", "securityfs", "mqueue" };
	unsigned n, command;

	for (n = 0; n < sizeof(types) / sizeof(*types); n++) {
		int file = syscall(SYS_fsopen, types[n], 0), made;

		for (command = 0; command < 10; command++) {
			syscall(SYS_fsconfig, file, command, "source", "/dev/zero", 0);
			syscall(SYS_fsconfig, file, command, "size", "%s%n99999999999999999999k", 0);
			syscall(SYS_fsconfig, file, command, NULL, NULL, 0);
		}
		made = syscall(SYS_fsmount, file, 0, -1);
		made = made < 0 ? (int)syscall(SYS_fsmount, file, 0, 0) : made;
		syscall(SYS_move_mount, made, "", made, "", 0x44);
		syscall(SYS_move_mount, made, "", AT_FDCWD, "/", 4);
		syscall(SYS_open_tree, made, "", 0x1001);
		syscall(SYS_mount_setattr, made, "", 0x9000, page, 32);
	}
}

static void handles_forged(void)
{
	struct { struct file_handle head; unsigned char bytes[128]; } handle;
	int n, root = open("/", O_DIRECTORY);

	for (n = 0; n < 512; n++) {
		memset(&handle, n & 1 ? 0xff : n, sizeof(handle));
		handle.head.handle_bytes = n % 128, handle.head.handle_type = n / 2;
		open_by_handle_at(root, &handle.head, O_RDWR);
	}
}

static void names_without_end(void)
{
	int n;
	char name[256];

	memset(name, 'n', 255), name[255] = 0;
	mkdir("/deep", 0777), chdir("/deep");
	for (n = 0; n < 300; n++)
		mkdir(name, 0777), chdir(name), symlink("/proc/self/cwd", "up");
	open("up/up/up/up", O_RDONLY);
	getcwd(page, sizeof(page));
	*(volatile char *)8 = 1; /* whoever reports it, wants its path */
}

static void rename_into_itself(void)
{
	mkdir("/a", 0777), mkdir("/a/b", 0777), mkdir("/a/b/c", 0777);
	rename("/a", "/a/b/c/d"), rename("/a/b", "/a"), rename("/", "/a/b"), rename("/a/b/c", "/a/b/c/..");
	syscall(SYS_renameat2, AT_FDCWD, "/a", AT_FDCWD, "/a/b/c", 2);
	syscall(SYS_renameat2, AT_FDCWD, "/a", AT_FDCWD, "/proc", 7);
}

static void groups_of_all(void)
{
	unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS | CLONE_NEWCGROUP);
	set("/proc/self/uid_map", "0 0 4294967295"), set("/proc/self/setgroups", "deny");
	set("/proc/self/gid_map", "0 0 1");
	sethostname("\033[2J\n<script>", 13);
	setdomainname("%s%n", 4);
	for (int n = 0; n < 32; n++)
		syscall(SYS_setns, open("/proc/1/ns/mnt", 0), n ? 1 << n : 0), unshare(1 << n);
	if (!fork())
		_exit(kill(1, SIGKILL));
	wait(NULL);
}

static void pipes_of_all(void)
{
	int n, ends[2];

	setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 1 << 20, 1 << 20 });
	for (n = 0; n < 4000 && !pipe(ends); n++) {
		fcntl(ends[0], F_SETPIPE_SZ, 1 << 20);
		fcntl(ends[1], F_SETFL, O_NONBLOCK);
		write(ends[1], page, sizeof(page));
	}
}

static void sockets_that_hold_each_other(void)
{
	int n, pair[2];
	union { struct cmsghdr head; char room[CMSG_SPACE(8)]; } control;

	for (n = 0; n < 300; n++) {
		struct iovec part = { page, 1 };
		struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };

		socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
		control.head.cmsg_len = CMSG_LEN(8), control.head.cmsg_level = SOL_SOCKET, control.head.cmsg_type = SCM_RIGHTS;
		memcpy(CMSG_DATA(&control.head), pair, 8);
		sendmsg(pair[0], &message, MSG_DONTWAIT);
		close(pair[0]), close(pair[1]);
	}
}

static void shared_memory(void)
{
	int n;

	for (n = 0; n < 2000; n++) {
		shmat(shmget(IPC_PRIVATE, 1UL << (n % 48), 0777 | IPC_CREAT), NULL, 0);
		msgsnd(msgget(IPC_PRIVATE, 0777 | IPC_CREAT), page, sizeof(page) - 8, IPC_NOWAIT);
		syscall(SYS_semop, syscall(SYS_semget, IPC_PRIVATE, 250, 0777), page, 500);
	}
}

static void keys(void)
{
	int n;

	for (n = 0; n < 3000; n++) {
		char name[32];

		snprintf(name, sizeof(name), "%d\n\033[2J", n);
		syscall(SYS_add_key, n & 1 ? "user" : "keyring", name, page, n & 1 ? 4000 : 0, -3);
		syscall(SYS_keyctl, n % 40, n, page, n, n);
		syscall(SYS_request_key, "user", name, "-C /etc/passwd", -3);
	}
}

static void watches(void)
{
	int n, file = inotify_init(), all = fanotify_init(0, O_RDWR);

	for (n = 0; n < 300; n++)
		inotify_add_watch(file, n & 1 ? "/" : "/proc", -1), fanotify_mark(all, FAN_MARK_ADD, FAN_OPEN | FAN_ACCESS | FAN_MODIFY, AT_FDCWD, "/");
	for (n = 0; n < 20000; n++)
		close(open("/tmp/watched", O_CREAT | O_RDWR, 0666));
	alarm(1);
	fanotify_mark(fanotify_init(FAN_CLASS_CONTENT, O_RDWR), FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_OPEN_PERM, AT_FDCWD, "/");
	open("/tmp/watched", O_RDWR); /* nobody answers */
}

static void *sleeps(void *nothing)
{
	while (!nothing)
		pause();
	return nothing;
}

static void forks(int thread)
{
	for (;;) {
		if (thread) {
			pthread_t made;

			if (pthread_create(&made, NULL, sleeps, NULL))
				break;
		} else if (fork() < 0) {
			break;
		}
	}
	for (;;)
		pause();
}

static void executes_itself(void)
{
	char *words[] = { "/proc/self/exe", "executes_itself", NULL };

	execv(words[0], words);
}

static void words_of_all(void)
{
	char **words = calloc(300000, sizeof(char *));
	int n;

	for (n = 0; n < 299999; n++)
		words[n] = page;
	memset(page, 'w', 4095);
	execv("/proc/self/exe", words);
	execve("/proc/self/exe", (char *[]){ "x", (char *)KERNEL, NULL }, (char **)DIRECT);
}

static void interpreters_that_go_round(void)
{
	int n;
	char path[32], line[64];

	for (n = 0; n < 8; n++) {
		int file;

		snprintf(path, sizeof(path), "/tmp/i%d", n), snprintf(line, sizeof(line), "#!/tmp/i%d\n", (n + 1) % 8);
		file = open(path, O_CREAT | O_WRONLY, 0777);
		write(file, line, strlen(line)), close(file);
	}
	execl("/tmp/i0", "i", NULL);
	set("/tmp/i0", "#!/"), execl("/tmp/i0", "i", NULL);
	set("/tmp/i0", "#!\n\n\n\n\n"), execl("/tmp/i0", "i", NULL);
}

static void limits_of_nothing(void)
{
	int n;

	for (n = 0; n < 16; n++)
		setrlimit(n, &(struct rlimit){ 0, 0 });
	open("/", 0), fork(), write(open("/tmp/x", O_CREAT | O_RDWR, 0666), page, 1), mmap(NULL, 4096, 3, 0x22, -1, 0);
}

static void helper(const char *path)
{
	set("/proc/sys/kernel/modprobe", path);
	syscall(SYS_socket, 38, 5, 0);
	set("/proc/sys/kernel/hotplug", path), set("/sys/kernel/uevent_helper", path);
	set("/sys/devices/virtual/mem/null/uevent", "add"), set("/sys/devices/virtual/mem/null/uevent", "change 12345678-1234-1234-1234-123456789abc A=\033[2J");
}

static void rseq_and_robust(void)
{
	int n;
	unsigned long at[] = { DIRECT, KERNEL, -4096UL, (unsigned long)page + 4090, 8 };

	for (n = 0; n < 5; n++) {
		syscall(SYS_rseq, at[n], 32, 0, 0x53053053);
		syscall(SYS_set_robust_list, at[n], 24), syscall(SYS_set_tid_address, at[n]);
		syscall(SYS_futex, at[n], 0, 0, NULL), syscall(SYS_futex, page, 9, 1, 1, page, 0), syscall(SYS_futex, page, 11, 0, page, page);
		if (!fork())
			_exit(0);
	}
	*(unsigned long *)page = (unsigned long)page; /* a list that is its own */
	syscall(SYS_set_robust_list, page, 24);
}

static void everything_of(const char *directory, int depth)
{
	char path[512], names[4096];
	int file = open(directory, O_DIRECTORY), size, at;

	while ((size = syscall(SYS_getdents64, file, names, sizeof(names))) > 0)
		for (at = 0; at < size; at += *(unsigned short *)(names + at + 16)) {
			int one;

			if (names[at + 19] == '.' || (unsigned)snprintf(path, sizeof(path), "%s/%s", directory, names + at + 19) >= sizeof(path))
				continue;
			if (names[at + 18] == 4 && depth)
				everything_of(path, depth - 1);
			else if (!strstr(path, "sysrq") && !strstr(path, "power") && (one = open(path, O_RDWR | O_NONBLOCK)) >= 0) {
				read(one, page, sizeof(page)), write(one, "-1\n", 3), write(one, "%s%n\n", 5), close(one);
			}
		}
	close(file);
}

#define ATTACKS(X)									\
	X(memory_of_init, memory_of(1)) X(memory_of_kthreadd, memory_of(2)) X(memory_of_parent, memory_of(getppid())) \
	X(registers_rip, registers_forged(16, KERNEL)) X(registers_cs, registers_forged(17, 0x10)) \
	X(registers_flags, registers_forged(18, -1)) X(registers_stack, registers_forged(19, DIRECT)) \
	X(registers_segment, registers_forged(20, 0)) X(registers_fs, registers_forged(21, -1)) \
	X(registers_gs, registers_forged(22, STUBS)) X(registers_call, registers_forged(15, -1)) \
	X(faults_in_user_space, faults_in_user_space()) X(rings, rings()) X(programs_of_bpf, programs_of_bpf()) \
	X(counters, counters()) X(mounts_within_mounts, mounts_within_mounts()) X(file_systems_by_parts, file_systems_by_parts()) \
	X(handles_forged, handles_forged()) X(names_without_end, names_without_end()) X(rename_into_itself, rename_into_itself()) \
	X(groups_of_all, groups_of_all()) X(pipes_of_all, pipes_of_all()) X(sockets_that_hold_each_other, sockets_that_hold_each_other()) \
	X(shared_memory, shared_memory()) X(keys, keys()) X(watches, watches()) X(forks, forks(0)) X(threads, forks(1)) \
	X(executes_itself, executes_itself()) X(words_of_all, words_of_all()) X(interpreters_that_go_round, interpreters_that_go_round()) \
	X(limits_of_nothing, limits_of_nothing()) X(helper_relative, helper("../../bin/hostile")) X(helper_empty, helper("")) \
	X(helper_long, char name[300]; memset(name, '/', 299); name[299] = 0; helper(name)) \
	X(helper_of_lines, helper("/bin/x\n\033[2J")) X(helper_that_is_modprobe_s, helper("/sbin/modprobe -C /etc/passwd")) \
	X(helper_directory, helper("/")) X(helper_device, helper("/dev/zero")) X(helper_itself, helper("/proc/self/exe")) \
	X(rseq_and_robust, rseq_and_robust()) X(swap, swapon("/tmp/x", 0); swapon("/dev/zero", 0); acct("/tmp/acct"); acct("/dev/null")) \
	X(everything_of_proc_sys, everything_of("/proc/sys", 4)) X(everything_of_proc_self, everything_of("/proc/self", 2)) \
	X(everything_of_proc_1, everything_of("/proc/1", 2)) X(everything_of_devices, everything_of("/dev", 2)) \
	X(everything_of_debug, everything_of("/sys/kernel", 3)) X(everything_of_modules, everything_of("/sys/module", 3)) \
	X(everything_of_classes, everything_of("/sys/class", 1)) X(everything_of_bus, everything_of("/sys/bus", 3)) \
	X(everything_of_tracing, everything_of("/sys/kernel/tracing", 2))

#include "attacks.h"
