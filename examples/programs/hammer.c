// SPDX-License-Identifier: GPL-2.0-only
/* hammer SEED COUNT: make COUNT system calls of any number, with any arguments, in children that may die of it. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096
#define MOST 451 /* system calls of v6.1 */
#define AT_ONCE 40 /* calls that a child makes */

static unsigned long state;

static unsigned long any(unsigned long below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state >> 11) % below;
}

static char *memory; /* three pages, then a page that can only be read, then nothing */

static const char *const paths[] = {
	"/tmp/file", "/tmp", "/proc/self/mem", "/proc/self/maps", "/dev/null", "/dev/zero", "/dev/ptmx", "/dev/mem", "/",
	"/proc/self/exe", "/dev/quanta0", "/dev/conduit", "/proc/self/fd/3", "", "/tmp/none", "/sys/kernel/notes",
};

static unsigned long argument(void)
{
	static const unsigned long values[] = {
		0, 1, 2, 3, 8, 16, 64, 4095, 4096, 1UL << 16, 1UL << 20, 1UL << 31, (1UL << 31) - 1, (1UL << 32) - 1,
		1UL << 32, 1UL << 47, (1UL << 47) - 1, 1UL << 63, -1UL, -2UL, -22UL, -100UL, -4096UL, 0x8000000000000000,
		0xffff888000000000, 0xffffffff81000000, 0xffffc90000000000, 0xfffffe0000000000, 0x7ffffffff000,
	};
	unsigned long *words;
	int n;

	switch (any(8)) {
	case 0:
		return values[any(sizeof(values) / sizeof(*values))];
	case 1:
	case 2:
		return any(14); /* a descriptor, or a small number */
	case 3:
		return (unsigned long)paths[any(sizeof(paths) / sizeof(*paths))];
	case 4:
		return (unsigned long)memory + any(4) * PAGE + any(3) * 8;
	case 5:
		return (unsigned long)memory + 4 * PAGE - any(32); /* the end of what there is */
	case 6:
		words = (unsigned long *)(memory + any(3) * PAGE + any(4) * 512);
		for (n = 0; n < 16; n++)
			words[n] = any(3) ? any(64) : any(2) ? (unsigned long)memory + any(4 * PAGE) : values[any(29)];
		return (unsigned long)words;
	default:
		return 1UL << any(64);
	}
}

static void attack(int calls)
{
	int n;

	memory = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(memory + 3 * PAGE, PAGE, PROT_READ);
	for (n = 0; n < (int)(sizeof(paths) / sizeof(*paths)) - 3; n++)
		open(paths[n], n % 3 ? O_RDWR : O_RDONLY);
	socket(AF_INET, n % 2 ? SOCK_DGRAM : SOCK_STREAM, 0);
	socket(AF_NETLINK, SOCK_RAW, (int)any(20));
	eventfd(0, 0);
	if (any(2) && setresuid(1000, 1000, 1000))
		_exit(1);
	for (n = 0; n < calls; n++) {
		unsigned long number = any(MOST), words[6];
		int word;

		for (word = 0; word < 6; word++)
			words[word] = argument();
		syscall(number, words[0], words[1], words[2], words[3], words[4], words[5]);
	}
}

static void *attack_with(void *calls)
{
	attack((long)calls);
	return NULL;
}

/* Some do it in several threads of a process, which end each other. */
static void attack_together(int calls)
{
	pthread_t thread;
	int others = any(2) ? 3 : 0, n;

	for (n = 0; n < others; n++)
		pthread_create(&thread, NULL, attack_with, (void *)(long)(calls / 4));
	attack(calls - others * (calls / 4));
	if (others)
		usleep(10000);
}

int main(int count, char **words)
{
	long left, seed = count > 2 ? atol(words[1]) : 1, number = 0;

	for (left = count > 2 ? atol(words[2]) : 100; left > 0; left -= AT_ONCE, number++) {
		int patience = 100;
		pid_t child = fork();

		if (!child) {
			state = 0x9e3779b97f4a7c15 * (seed * 1000 + number + 1);
			setpgid(0, 0);
			attack_together(left < AT_ONCE ? left : AT_ONCE);
			_exit(0);
		}
		while (child > 0 && waitpid(child, NULL, WNOHANG) == 0 && patience--)
			usleep(1000);
		kill(-child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	puts("through");
	return 0;
}
