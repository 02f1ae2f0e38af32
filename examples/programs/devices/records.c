// SPDX-License-Identifier: GPL-2.0-only
/* What the kernel records: trace events and probes of a module, and who closes a file. */
#include "devices.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define TRACING "/sys/kernel/tracing/"
#define EVENT TRACING "events/marks/mark_made/"

static void clear(const char *path)
{
	close(open(path, O_WRONLY | O_TRUNC));
}

/* The records of the trace, without the task, the CPU and the time. */
static void show_trace(void)
{
	FILE *file = fopen(TRACING "trace", "r");
	char line[256];

	while (fgets(line, sizeof(line), file))
		if (line[0] != '#')
			printf("  %s", strstr(line, "mark"));
	fclose(file);
	clear(TRACING "trace");
}

/* The lines of a file but the number of an event, which depends on how many there are. */
static void show_lines(const char *path)
{
	FILE *file = fopen(path, "r");
	char line[256];

	while (file && fgets(line, sizeof(line), file))
		if (strncmp(line, "ID:", 3))
			printf("  %s", line);
	if (file)
		fclose(file);
}

static void mark(const char *first, const char *second)
{
	put("/dev/marks", first);
	put("/dev/marks", second);
}

void marks(void)
{
	clear(TRACING "trace");
	show_lines(EVENT "format");
	mark("1", "2");
	show_trace();
	put(EVENT "enable", "1");
	mark("3", "4");
	put(EVENT "filter", "number > 5 && common_pid != 0");
	mark("5", "6");
	put(EVENT "filter", "nothing > 5");
	put(EVENT "filter", "0");
	show_trace();
	put(EVENT "trigger", "traceoff:1 if number == 7");
	mark("7", "8");
	show_file(TRACING "tracing_on");
	put(TRACING "tracing_on", "1");
	put(EVENT "trigger", "!traceoff");
	show_trace();
	put(EVENT "trigger", "hist:keys=text:vals=number:sort=text");
	mark("9", "10");
	mark("11", "12");
	show_lines(EVENT "hist");
	put(EVENT "trigger", "!hist:keys=text:vals=number:sort=text");
	put(EVENT "enable", "0");
	clear(TRACING "trace");
	put(TRACING "kprobe_events", "p:mark_note marks_note number=%di");
	put(TRACING "kprobe_events", "p:mark_none marks_none");
	show_file(TRACING "kprobe_events");
	put(TRACING "events/kprobes/mark_note/enable", "1");
	mark("13", "x");
	show_trace();
	put(TRACING "events/kprobes/mark_note/enable", "0");
	clear(TRACING "kprobe_events");
	show_file(TRACING "kprobe_events");
}

/* ioctl(2) as 32-bit code calls it. */
static int ioctl32(int file, unsigned command, unsigned address)
{
	int result;

	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(54), "b"(file), "c"(command), "d"(address)
			 : "r8", "r9", "r10", "r11", "memory");
	return result;
}

static int delete_module32(const char *name)
{
	int result;

	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(129), "b"((unsigned)(long)name), "c"(O_NONBLOCK)
			 : "r8", "r9", "r10", "r11", "memory");
	return result;
}

void ledger(void)
{
	int *number = mmap((void *)0x40000, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	static char name[] = "ledger"; /* at an address of 32 bits */
	int file = open("/dev/ledger", O_RDWR), other = open("/dev/ledger", O_RDWR | O_APPEND), status;
	const unsigned add = _IOWR('L', 0, int);

	*number = 41;
	show("ioctl", ioctl(file, add, number));
	printf("  %d from 32-bit code, %d without an address, %d of another\n", ioctl32(file, add, 0x40000),
	       ioctl32(file, add, 8), ioctl32(file, 0x1234, 0x40000));
	printf("  %d\n", *number);
	printf("  %d: the module is in use\n", delete_module32(name));
	show("close", close(other));
	if (!fork())
		_exit(0);
	wait(&status);
	if (!fork()) {
		open("/dev/ledger", O_RDWR);
		kill(getpid(), SIGKILL);
	}
	wait(&status);
	show("killed", WTERMSIG(status));
}
