// SPDX-License-Identifier: GPL-2.0-only
/* bombs threads|processes [LIMIT]: as many as there can be; by a user whose RLIMIT_NPROC is LIMIT. -static -pthread */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define STACK 16384

static void *waits(void *unused)
{
	pause();
	return NULL;
}

static int thread(void)
{
	pthread_attr_t attributes;
	pthread_t id;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK);
	return pthread_create(&id, &attributes, waits, NULL) ? -1 : 0;
}

static int process(void)
{
	pid_t child = fork();

	if (!child)
		waits(NULL);
	return child < 0 ? -1 : 0;
}

static const struct {
	const char *name;
	int (*more)(void);
} bombs[] = { { "threads", thread }, { "processes", process } };

/* How many there can be. */
static long count(int (*more)(void))
{
	long made = 0;

	while (!more())
		made++;
	return made;
}

int main(int argc, char **argv)
{
	struct rlimit limit = { argc > 2 ? atol(argv[2]) : 0, RLIM_INFINITY };
	unsigned n;

	setpgid(0, 0);
	limit.rlim_max = limit.rlim_cur;
	if (argc > 2 && (setrlimit(RLIMIT_NPROC, &limit) || setresuid(1000, 1000, 1000)))
		return 2;
	for (n = 0; n < sizeof(bombs) / sizeof(*bombs); n++)
		if (argc > 1 && !strcmp(argv[1], bombs[n].name)) {
			printf("%ld %s", count(bombs[n].more), argv[1]);
			printf(", then %m\n");
		}
	fflush(stdout);
	signal(SIGTERM, SIG_IGN); /* the children do not ignore it */
	kill(0, SIGTERM);
	while (wait(NULL) > 0)
		;
	return 0;
}
