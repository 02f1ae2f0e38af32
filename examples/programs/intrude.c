// SPDX-License-Identifier: GPL-2.0-only
/* Attacks by signal frames whose FPU state lies, by moved mappings, by sizes beyond all files, and by names. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <ucontext.h>
#include <unistd.h>

#define KERNEL	0xffffffff81000000UL
#define LAST	0x7fffffffffffUL

static unsigned lie_at, lie;

/* Write a lie into the FPU state that sigreturn() restores: in FXSAVE's area, its software bytes, or XSAVE's header. */
static void forge(int signal, siginfo_t *info, void *context)
{
	char *state = (char *)((ucontext_t *)context)->uc_mcontext.fpregs;

	memset(state + lie_at, lie, lie_at == 464 ? 48 : 64);
}

static void state_that_lies(unsigned at, unsigned with)
{
	struct sigaction act = { .sa_sigaction = forge, .sa_flags = SA_SIGINFO };

	lie_at = at;
	lie = with;
	sigaction(SIGUSR1, &act, NULL);
	raise(SIGUSR1);
}

static void elsewhere(int signal, siginfo_t *info, void *context)
{
	((ucontext_t *)context)->uc_mcontext.fpregs = (void *)((uintptr_t)lie << 32 | lie_at);
}

static void state_elsewhere(unsigned long at)
{
	struct sigaction act = { .sa_sigaction = elsewhere, .sa_flags = SA_SIGINFO };

	lie_at = at;
	lie = at >> 32;
	sigaction(SIGUSR1, &act, NULL);
	raise(SIGUSR1);
}

/* A signal stack at the edges of what there is. */
static void stack_of_signals(unsigned long at, unsigned long size)
{
	stack_t stack = { .ss_sp = (void *)at, .ss_size = size };
	struct sigaction act = { .sa_sigaction = forge, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	sigaltstack(&stack, NULL);
	sigaction(SIGUSR1, &act, NULL);
	raise(SIGUSR1);
}

static int file(const char *name) { return open(name, O_RDWR | O_CREAT, 0666); }

/* Move what is at an address over what is at another, in every way. */
static void move(unsigned long from, unsigned long to)
{
	mremap((void *)from, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	mremap((void *)from, 0, 1UL << 40, MREMAP_MAYMOVE);
	mremap((void *)from, 4096, -4096UL, MREMAP_MAYMOVE);
	mmap((void *)to, 4096, 7, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	madvise((void *)to, -4096UL, MADV_DONTNEED);
	mprotect((void *)(from & ~4095UL), -4096UL, 0);
}

static void memory_written_by_proc(unsigned long at)
{
	int memory = open("/proc/self/mem", O_RDWR);

	pwrite(memory, "\xf4\xeb\xfe\xcc", 4, at);
	state_elsewhere(0);
}

static void vectors(void)
{
	static struct iovec many[1024];
	int n, fd = file("/tmp/vectors");

	for (n = 0; n < 1024; n++)
		many[n] = (struct iovec){ n & 1 ? (void *)KERNEL : many, n & 2 ? -1UL : 0x7ffff000 };
	writev(fd, many, 1024);
	readv(fd, many, 1024);
	syscall(SYS_pwritev, fd, many, -1, -1, -1);
	vmsplice(fd, many, 1024, 0);
	process_vm_writev(getpid(), many, 1024, many, 1024, 0);
	process_vm_readv(1, many, 1024, many, 1024, 0);
}

static void pipes_in_a_circle(void)
{
	int a[2], b[2], n;

	pipe(a);
	pipe(b);
	write(a[1], "x", 1);
	for (n = 0; n < 100000; n++) {
		splice(a[0], NULL, b[1], NULL, -1UL >> 1, 0);
		tee(b[0], a[1], -1UL >> 1, SPLICE_F_NONBLOCK);
		splice(b[0], NULL, a[1], NULL, 1, SPLICE_F_NONBLOCK);
	}
}

static void file_into_itself(void)
{
	int fd = file("/tmp/itself");
	off_t start = 0;

	write(fd, "x", 1);
	for (;;) {
		start = 0;
		copy_file_range(fd, &start, fd, NULL, -1UL >> 1, 0);
		sendfile(fd, fd, &start, -1UL >> 1);
		if (lseek(fd, 0, SEEK_END) > 1 << 24)
			break;
	}
}

static void room_of_terabytes(void)
{
	int fd = file("/tmp/large"), memory = memfd_create("m\n\033[2J", 0);

	fallocate(fd, 0, 0, 1UL << 42);
	fallocate(memory, 0, 0, 1UL << 42);
	fallocate(memory, 0, 1UL << 62, 1UL << 62);
	ftruncate(fd, 1UL << 62);
	mmap(NULL, 1UL << 46, 3, MAP_SHARED | MAP_POPULATE, memory, 0);
	mmap(NULL, 1UL << 40, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0);
	pwrite(fd, "x", 1, 1UL << 61);
	fsync(fd);
}

static void links_without_end(void)
{
	char name[] = "/tmp/l0", *next;
	int n;

	for (n = 0; n < 26; n++) {
		next = strdup(name);
		next[6] = 'a' + n;
		symlink(name, next);
		symlink(next, name);
		memcpy(name, next, sizeof(name));
		open(next, O_RDONLY);
	}
	symlink("/tmp/self/../self/x", "/tmp/self");
	open("/tmp/self", O_RDONLY);
	open("/proc/self/fd/../root/proc/self/cwd/../proc/self/exe/", O_RDONLY);
}

static void names(void)
{
	char name[4096] = "/tmp/";
	int n;

	for (n = 0; n < 255; n++)
		name[5 + n] = "\xff\x1b\n\x9b\xe2\x80\xae<&\"'|\\$`;"[n % 17];
	close(file(name));
	mkdir(name, 0);
	chdir(name);
	setxattr(name, "user.\xff\n", name, sizeof(name), 0);
	setxattr("/tmp", "security.capability", name, 24, 0);
	syscall(SYS_setxattr, "/tmp", "trusted.\x1b[2J", name, 65536, 0);
	syscall(SYS_listxattr, "/tmp", name, -1UL);
	syscall(SYS_getxattr, "/tmp", "system.posix_acl_access", KERNEL, -1UL);
}

#define ATTACKS(X)										\
	X(fpu_of_zeros, state_that_lies(0, 0)) X(fpu_of_ones, state_that_lies(0, 0xff))		\
	X(fpu_software_zeros, state_that_lies(464, 0)) X(fpu_software_ones, state_that_lies(464, 0xff)) \
	X(fpu_header_ones, state_that_lies(512, 0xff)) X(fpu_header_odd, state_that_lies(512, 0x55)) \
	X(fpu_control, state_that_lies(24, 0xff)) X(fpu_of_nothing, state_elsewhere(0))		\
	X(fpu_of_the_kernel, state_elsewhere(KERNEL)) X(fpu_unaligned, state_elsewhere(0x400001))	\
	X(fpu_at_the_end, state_elsewhere(LAST - 63)) X(fpu_not_canonical, state_elsewhere(1UL << 63)) \
	X(signals_at_the_kernel, stack_of_signals(KERNEL, 1 << 20)) X(signals_at_nothing, stack_of_signals(0, -1UL)) \
	X(signals_at_the_end, stack_of_signals(LAST - 4096, 1 << 20)) X(signals_wrapped, stack_of_signals(-8192UL, -1UL)) \
	X(move_over_the_stack, move((unsigned long)forge & ~4095UL, (unsigned long)__builtin_frame_address(0) & ~4095UL)) \
	X(move_over_the_code, move((unsigned long)__builtin_frame_address(0) & ~4095UL, (unsigned long)move & ~4095UL)) \
	X(move_to_the_kernel, move((unsigned long)forge & ~4095UL, KERNEL)) X(move_the_kernel, move(KERNEL, 0x10000000)) \
	X(move_vsyscall, move(0xffffffffff600000UL, 0x10000000)) X(move_over_nothing, move(0x10000000, 0)) \
	X(own_code_written, memory_written_by_proc((unsigned long)state_elsewhere)) X(kernel_written, memory_written_by_proc(KERNEL)) \
	X(stubs_written, memory_written_by_proc(0xffffffffbe000000UL)) X(end_written, memory_written_by_proc(-2UL)) \
	X(vectors, vectors()) X(pipes_in_a_circle, pipes_in_a_circle()) X(file_into_itself, file_into_itself()) \
	X(room_of_terabytes, room_of_terabytes()) X(links_without_end, links_without_end()) X(names, names())

#include "attacks.h"
