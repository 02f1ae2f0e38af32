// SPDX-License-Identifier: GPL-2.0-only
/* user getpid|touch|spin COUNT: COUNT system calls, pages that are touched for the first time, or laps of a loop. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	unsigned long n, count = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
	char *pages;

	if (!strcmp(argv[1], "getpid")) {
		for (n = 0; n < count; n++)
			syscall(SYS_getpid);
	} else if (!strcmp(argv[1], "touch")) {
		pages = mmap(NULL, (count + 1) * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		for (n = 0; n < count; n++)
			pages[n * 4096] = 1;
	} else {
		/* The loop of benchmarks/machine.py. */
		asm volatile("xor %%eax, %%eax; 1: add %%rdi, %%rax; inc %%rax; dec %%rdi; jnz 1b"
			     : "+D"(count) : : "rax", "cc");
	}
	return 0;
}
