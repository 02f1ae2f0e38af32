// SPDX-License-Identifier: GPL-2.0-only
/* What threads ask of their kernel, one subject a word: threads locks, threads signals, ... Build it with -static. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COUNT 4

/* A call, its result and its errno. */
#define TRY(what, call) \
	do { \
		long result; \
		errno = 0; \
		result = (long)(call); \
		printf("%s %ld, %s\n", what, result, strerror(errno)); \
	} while (0)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int phase;
static long sum;

static void enter_phase(int to)
{
	pthread_mutex_lock(&lock);
	phase = to;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static void wait_for_phase(int wanted)
{
	pthread_mutex_lock(&lock);
	while (phase < wanted)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

static pthread_t started(void *(*work)(void *), void *argument)
{
	pthread_t thread;
	int error = pthread_create(&thread, NULL, work, argument);

	if (error)
		printf("no thread: %s\n", strerror(error));
	return thread;
}

static void *wait_for_ever(void *unused)
{
	for (;;)
		pause();
	return NULL;
}

static void *spin(void *unused)
{
	for (;;)
		;
	return NULL;
}

/* -- mutexes, condition variables, barriers, futexes ------------------------------------------------------ */

static void *add(void *number)
{
	int n;

	wait_for_phase(1);
	for (n = 0; n < 1000; n++) {
		pthread_mutex_lock(&lock);
		sum += (long)number;
		pthread_mutex_unlock(&lock);
		if (n % 100 == 0)
			sched_yield();
	}
	return (void *)((long)number * 2);
}

static void *meet(void *barrier)
{
	return (void *)(long)(pthread_barrier_wait(barrier) == PTHREAD_BARRIER_SERIAL_THREAD);
}

static volatile int word;

static void *wake_word(void *unused)
{
	usleep(10000);
	word = 1;
	return (void *)syscall(SYS_futex, &word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void *die_with_lock(void *mutex)
{
	pthread_mutex_lock(mutex);
	return NULL;
}

static int locks(char **words)
{
	pthread_t threads[COUNT];
	pthread_barrier_t barrier;
	pthread_mutexattr_t robust;
	pthread_mutex_t mutex;
	struct timespec time = { 0, 1000000 };
	long n, serial = 0;
	void *result;

	for (n = 0; n < COUNT; n++)
		threads[n] = started(add, (void *)(n + 1));
	enter_phase(1);
	for (n = 0; n < COUNT; n++) {
		pthread_join(threads[n], &result);
		printf("thread %ld returned %ld\n", n, (long)result);
	}
	printf("sum %ld\n", sum);
	pthread_barrier_init(&barrier, NULL, COUNT);
	for (n = 0; n < COUNT; n++)
		threads[n] = started(meet, &barrier);
	for (n = 0; n < COUNT; n++) {
		pthread_join(threads[n], &result);
		serial += (long)result;
	}
	printf("met, of %d one was the last: %ld\n", COUNT, serial);
	threads[0] = started(wake_word, NULL);
	n = syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0);
	pthread_join(threads[0], &result);
	printf("woken %ld by one that woke %ld\n", n, (long)result);
	TRY("another word", syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0));
	TRY("in time", syscall(SYS_futex, &word, FUTEX_WAIT, 1, &time, NULL, 0));
	pthread_mutexattr_init(&robust);
	pthread_mutexattr_setrobust(&robust, PTHREAD_MUTEX_ROBUST);
	pthread_mutexattr_setprotocol(&robust, PTHREAD_PRIO_INHERIT);
	pthread_mutex_init(&mutex, &robust);
	pthread_join(started(die_with_lock, &mutex), NULL);
	printf("its owner is dead: %s\n", strerror(pthread_mutex_lock(&mutex)));
	printf("consistent %d\n", pthread_mutex_consistent(&mutex));
	printf("unlocked %d\n", pthread_mutex_unlock(&mutex));
	return 0;
}

/* -- what threads share, and what not --------------------------------------------------------------------- */

static __thread int own = 5;
static int descriptor;
static char *heap;

static void *change(void *unused)
{
	own++;
	printf("pid %d, tid %d\n", getpid() == *(pid_t *)heap, gettid() == *(pid_t *)heap);
	descriptor = dup(1);
	chdir("/proc");
	umask(0123);
	setpriority(PRIO_PROCESS, gettid(), 3);
	heap = realloc(heap, 1 << 20);
	strcpy(heap, "from a thread");
	return (void *)(long)own;
}

/* A thread that was joined may be seen for a moment. */
static void wait_for_tasks(int wanted)
{
	struct dirent *entry;
	DIR *directory;
	int count, mine;

	do {
		directory = opendir("/proc/self/task");
		count = mine = 0;
		while (directory && (entry = readdir(directory))) {
			count += entry->d_name[0] != '.';
			mine += atoi(entry->d_name) == getpid();
		}
		closedir(directory);
	} while (count != wanted);
	printf("%d tasks, me among them %d\n", count, mine);
}

static void show_status(const char *path)
{
	char line[200];
	FILE *status = fopen(path, "r");

	while (status && fgets(line, sizeof(line), status))
		if (!strncmp(line, "Name:", 5) || !strncmp(line, "Threads:", 8) || !strncmp(line, "State:", 6))
			fputs(line, stdout);
	fclose(status);
}

static void *named(void *tid)
{
	pthread_setname_np(pthread_self(), "another");
	*(pid_t *)tid = gettid();
	enter_phase(1);
	return wait_for_ever(NULL);
}

static int shares(char **words)
{
	char directory[100], path[100];
	pid_t other;
	void *result;
	int priority = getpriority(PRIO_PROCESS, 0);

	heap = malloc(100);
	*(pid_t *)heap = getpid();
	pthread_join(started(change, NULL), &result);
	printf("its own %ld, mine %d\n", (long)result, own);
	printf("%s in %s, file %d, umask %#o\n", heap, getcwd(directory, sizeof(directory)),
	       write(descriptor, "through its file\n", 17) == 17, umask(0));
	printf("my priority has changed by %d\n", getpriority(PRIO_PROCESS, 0) - priority);
	wait_for_tasks(1);
	started(named, &other);
	wait_for_phase(1);
	usleep(10000);
	wait_for_tasks(2);
	show_status("/proc/self/status");
	sprintf(path, "/proc/self/task/%d/status", other);
	show_status(path);
	sprintf(path, "/proc/%d/status", other);
	show_status(path);
	TRY("a thread is no child", waitpid(other, NULL, 0));
	TRY("nor a group", kill(-other, 0));
	printf("it is in mine %d\n", getpgid(other) == getpgrp());
	return 0;
}

/* -- signals ---------------------------------------------------------------------------------------------- */

static volatile pid_t handled_by;
static sem_t handled;

static void handle(int signal)
{
	handled_by = gettid();
	sem_post(&handled);
}

static void *sleep_for_signal(void *tid)
{
	*(pid_t *)tid = gettid();
	enter_phase(1);
	return wait_for_ever(NULL);
}

static void *interrupted(void *pipe)
{
	char byte;
	long result;

	enter_phase(2);
	result = read(*(int *)pipe, &byte, 1);
	printf("read %ld, %s\n", result, strerror(errno));
	return NULL;
}

static void *wait_for_signal(void *set)
{
	int signal = 0;

	sigwait(set, &signal);
	return (void *)(long)signal;
}

static int signals(char **words)
{
	struct sigaction action = { .sa_handler = handle };
	sigset_t set, before;
	pthread_t first, second;
	pid_t tid;
	int ends[2];
	void *result;

	sem_init(&handled, 0, 0);
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGUSR2, &action, NULL);
	first = started(sleep_for_signal, &tid);
	wait_for_phase(1);
	pthread_kill(first, SIGUSR1);
	sem_wait(&handled);
	printf("handled by it %d\n", handled_by == tid);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, &before);
	kill(getpid(), SIGUSR2);
	sem_wait(&handled);
	printf("one that I block, by it %d\n", handled_by == tid);
	raise(SIGUSR2);
	usleep(10000);
	sigpending(&before);
	printf("sent to me it waits %d, handled %d\n", sigismember(&before, SIGUSR2), sem_trywait(&handled) == 0);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	printf("until I take it %d, %d\n", handled_by == gettid(), sem_trywait(&handled) == 0);
	pipe(ends);
	second = started(interrupted, &ends[0]);
	wait_for_phase(2);
	usleep(10000);
	pthread_kill(second, SIGUSR1);
	pthread_join(second, NULL);
	printf("gone %s\n", strerror(pthread_kill(second, 0)));
	TRY("of another process", syscall(SYS_tgkill, getpid(), getppid(), 0));
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGRTMIN + 1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	pthread_kill(first, 0);
	second = started(wait_for_signal, &set);
	usleep(10000);
	pthread_kill(second, SIGRTMIN + 1);
	pthread_join(second, &result);
	printf("waited for %ld\n", (long)result - SIGRTMIN);
	pthread_cancel(first);
	pthread_join(first, &result);
	printf("cancelled %d\n", result == PTHREAD_CANCELED);
	return 0;
}

/* -- ends ------------------------------------------------------------------------------------------------- */

static void *exit_group(void *status)
{
	usleep(10000);
	exit((long)status);
	return NULL;
}

static void *exit_late(void *status)
{
	usleep(10000);
	syscall(SYS_exit, (long)status);
	return NULL;
}

static void *crash(void *address)
{
	usleep(10000);
	*(volatile int *)address = 1;
	return NULL;
}

static void *abort_all(void *unused)
{
	abort();
	return NULL;
}

static void *stop_all(void *unused)
{
	raise(SIGSTOP);
	usleep(10000);
	_exit(4);
}

static void *execute(void *words)
{
	usleep(10000);
	execv("/proc/self/exe", words);
	printf("exec: %s\n", strerror(errno));
	exit(1);
	return NULL;
}

static void *fork_one(void *unused)
{
	pid_t child = fork();

	if (!child) {
		wait_for_tasks(1);
		fflush(stdout);
		_exit(6);
	}
	return (void *)(long)child;
}

static int end_by(const char *how)
{
	char *words[] = { "threads", "executed", NULL };
	void *result;
	int status;

	started(wait_for_ever, NULL);
	if (!strcmp(how, "main"))
		return 3;
	if (!strcmp(how, "other"))
		started(exit_group, (void *)5);
	else if (!strcmp(how, "leader-first")) {
		started(exit_group, (void *)6);
		syscall(SYS_exit, 1);
	} else if (!strcmp(how, "crash"))
		started(crash, (void *)8);
	else if (!strcmp(how, "abort"))
		started(abort_all, NULL);
	else if (!strcmp(how, "spin")) {
		started(spin, NULL);
		started(exit_group, (void *)7);
	} else if (!strcmp(how, "stop"))
		started(stop_all, NULL);
	else if (!strcmp(how, "killed"))
		kill(getpid(), SIGKILL);
	else if (!strcmp(how, "exec"))
		execute(words);
	else if (!strcmp(how, "exec-by-other"))
		started(execute, words);
	else if (!strcmp(how, "exec-by-last")) {
		started(execute, words);
		syscall(SYS_exit, 0);
	} else if (!strcmp(how, "fork")) {
		pthread_join(started(fork_one, NULL), &result);
		printf("waited for %d", waitpid((long)result, &status, 0) == (long)result);
		printf(" %#x\n", status);
		return 0;
	}
	wait_for_ever(NULL);
	return 0;
}

static int ends(char **words)
{
	static const char *const hows[] = {
		"main", "other", "leader-first", "crash", "abort", "spin", "stop", "killed",
		"exec", "exec-by-other", "exec-by-last", "fork",
	};
	unsigned n;
	int status;
	pid_t child;

	for (n = 0; n < sizeof(hows) / sizeof(*hows); n++) {
		printf("%s:\n", hows[n]);
		child = fork();
		if (!child)
			exit(end_by(hows[n]));
		while (waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status)) {
			printf("stopped by %d\n", WSTOPSIG(status));
			kill(child, SIGCONT);
		}
		printf("%#x\n", status & ~0x80); /* the limit of a core's size is the caller's */
	}
	return 0;
}

/* The threads end one by one by themselves, the first one first. */
static int one_by_one(char **words)
{
	pid_t child = fork();
	int status;

	if (!child) {
		started(exit_late, (void *)9);
		syscall(SYS_exit, 2);
	}
	waitpid(child, &status, 0);
	printf("%#x\n", status);
	return 0;
}

static int executed(char **words)
{
	printf("executed as %d\n", getpid() == gettid());
	wait_for_tasks(1);
	return 8;
}

static int end(char **words)
{
	return end_by(words[0]);
}

/* -- a module's device ------------------------------------------------------------------------------------ */

static void *read_device(void *descriptor)
{
	char text[20] = "";
	long size;

	enter_phase(1);
	size = read(*(int *)descriptor, text, sizeof(text) - 1);
	printf("read %ld: %s\n", size, text);
	return NULL;
}

static void *poll_device(void *descriptor)
{
	struct pollfd one = { .fd = *(int *)descriptor, .events = POLLIN };
	int count;

	enter_phase(2);
	count = poll(&one, 1, 5000);
	printf("polled %d: %#x\n", count, one.revents);
	return NULL;
}

static int conduit(char **words)
{
	int file = open("/dev/conduit", O_RDWR);
	pthread_t reader = started(read_device, &file);
	pthread_t poller;
	char text[20];

	wait_for_phase(1);
	usleep(10000);
	printf("written %ld\n", (long)write(file, "to a thread", 11));
	pthread_join(reader, NULL);
	poller = started(poll_device, &file);
	wait_for_phase(2);
	usleep(10000);
	write(file, "again", 5);
	pthread_join(poller, NULL);
	printf("left %ld\n", (long)read(file, text, sizeof(text)));
	return 0;
}

static const struct {
	const char *name;
	int (*run)(char **words);
} trials[] = {
	{ "locks", locks }, { "shares", shares }, { "signals", signals }, { "ends", ends },
	{ "one-by-one", one_by_one }, { "executed", executed }, { "end", end }, { "conduit", conduit },
};

int main(int count, char **words)
{
	unsigned n;

	setvbuf(stdout, NULL, _IONBF, 0);
	for (n = 0; count > 1 && n < sizeof(trials) / sizeof(*trials); n++)
		if (!strcmp(words[1], trials[n].name))
			return trials[n].run(words + 2);
	fprintf(stderr, "no such trial\n");
	return 2;
}
