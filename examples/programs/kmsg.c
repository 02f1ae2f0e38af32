// SPDX-License-Identifier: GPL-2.0
/*
 * Uses /dev/kmsg, as root: what it reads of its own messages, with numbers counted from the first one and
 * without times, and what it gets for everything else that a reader may do.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned long long first;
static char *volatile nowhere = (char *)16;

static long result(const char *what, long value)
{
	printf("%s %ld %s\n", what, value, value < 0 ? strerrorname_np(errno) : "");
	return value;
}

/* Reads a record; shows all but its time and its absolute number. */
static long show(int file, size_t size)
{
	char text[8192];
	unsigned priority;
	unsigned long long number, time;
	char flag, *rest;
	long got = read(file, text, size);

	if (got < 0)
		return result("read", got);
	text[got] = 0;
	rest = strchr(text, ';');
	if (!rest || sscanf(text, "%u,%llu,%llu,%c", &priority, &number, &time, &flag) != 4)
		return result("malformed", 0);
	if (!first)
		first = number;
	printf("%u,+%llu,%c%s", priority, number - first, flag, rest);
	return got;
}

static int ready(int file)
{
	struct pollfd one = { file, POLLIN | POLLPRI, 0 };

	poll(&one, 1, 0);
	return one.revents;
}

static void print(int file, const char *text)
{
	long done = write(file, text, strlen(text));

	if (done != (long)strlen(text))
		result("write", done);
}

static void messages(int in, int out)
{
	static const char *const texts[] = {
		"plain", "a line\n", "<6>info\n", "<30>a daemon's\n", "<4294967295>the highest\n", "<no>prefix\n",
		"<>empty\n", "two\nlines\n", "a \\ backslash, a \t tab, \x01 and \xc3\xa4\n", "", "\n",
		"\x01" "3a KERN_ prefix of a user\n",
	};
	unsigned n;

	for (n = 0; n < sizeof(texts) / sizeof(*texts); n++)
		print(out, texts[n]);
	print(out, "the last\n");
	while (show(in, 8192) > 0)
		;
	printf("ready %#x\n", ready(in));
	print(out, "more\n");
	printf("ready %#x\n", ready(in));
	show(in, 10); /* does not fit: it is lost */
	show(in, 8192);
}

static void sizes(int in, int out)
{
	static char text[2000];

	memset(text, 'x', sizeof(text));
	result("975", write(out, text, 975));
	result("976", write(out, text, 976));
	result("977", write(out, text, 977));
	result("993", write(out, text, 993));
	print(out, "end of sizes\n");
	while (show(in, 8192) > 0)
		;
	result("bad address", write(out, nowhere, 4));
	print(out, "for a bad address\n");
	result("bad address", read(in, nowhere, 4096));
}

static void places(int in, int out)
{
	result("offset", lseek(in, 1, SEEK_SET));
	result("current", lseek(in, 0, SEEK_CUR));
	result("hole", lseek(in, 0, SEEK_HOLE));
	result("end", lseek(in, 0, SEEK_END));
	show(in, 8192);
	print(out, "before the clear\n");
	klogctl(5, NULL, 0);
	print(out, "after the clear\n");
	result("data", lseek(in, 0, SEEK_DATA));
	show(in, 8192);
	result("start", lseek(in, 0, SEEK_SET));
	printf("something is there %d\n", read(in, (char[8192]){ 0 }, 8192) > 0);
	result("pread", pread(in, (char[8192]){ 0 }, 8192, 0) > 0);
}

/* The reader's next record is overwritten: EPIPE once, then the oldest one. */
static void overwritten(int in, int out)
{
	static char text[800];
	int n;

	lseek(in, 0, SEEK_SET);
	memset(text, 'y', sizeof(text));
	for (n = 0; n < 3000; n++)
		write(out, text, sizeof(text));
	printf("ready %#x\n", ready(in));
	result("read", read(in, (char[8192]){ 0 }, 8192));
	printf("then %d\n", read(in, (char[8192]){ 0 }, 8192) > 0);
	printf("ready %#x\n", ready(in));
	lseek(in, 0, SEEK_END);
}

static void sleeper(int out)
{
	int in = open("/dev/kmsg", O_RDONLY), status;

	lseek(in, 0, SEEK_END);
	if (!fork()) {
		usleep(50000);
		print(out, "wakes a reader\n");
		_exit(0);
	}
	show(in, 8192);
	wait(&status);
	if (!fork()) {
		usleep(50000);
		print(out, "wakes a poller\n");
		_exit(0);
	}
	printf("poll %d\n", poll(&(struct pollfd){ in, POLLIN, 0 }, 1, 5000));
	show(in, 8192);
	wait(&status);
	close(in);
}

static void unprivileged(void)
{
	int status;

	fflush(stdout);
	if (!fork()) {
		setresgid(1000, 1000, 1000);
		setresuid(1000, 1000, 1000);
		result("as a user", open("/dev/kmsg", O_RDONLY) < 0 ? -1 : 0);
		result("as a user", open("/dev/kmsg", O_WRONLY) < 0 ? -1 : 0);
		_exit(0);
	}
	wait(&status);
}

int main(void)
{
	int in = open("/dev/kmsg", O_RDONLY | O_NONBLOCK), out = open("/dev/kmsg", O_WRONLY);

	setvbuf(stdout, NULL, _IONBF, 0);
	if (in < 0 || out < 0)
		return 2;
	lseek(in, 0, SEEK_END);
	result("nothing", read(in, (char[8192]){ 0 }, 8192));
	messages(in, out);
	sizes(in, out);
	places(in, out);
	overwritten(in, out);
	sleeper(out);
	chmod("/dev/kmsg", 0666);
	unprivileged();
	result("write only", read(out, (char[8192]){ 0 }, 8192));
	return 0;
}
