/* Pid namespaces: what tasks are called in them, who may signal their init, and how they end. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t caught;
static volatile pid_t sender = -1;

static void catch(int number, siginfo_t *info, void *context)
{
	caught = number;
	sender = info->si_pid;
}

static void listen_for(int number)
{
	struct sigaction action = { .sa_sigaction = catch, .sa_flags = SA_SIGINFO };

	sigaction(number, &action, NULL);
}

static pid_t child(int (*work)(void), long flags)
{
	pid_t pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);

	if (pid < 0)
		printf("clone: %s\n", strerror(errno));
	if (pid == 0)
		_exit(work());
	return pid;
}

static void end(const char *what, pid_t pid)
{
	int status = -1;
	pid_t found = pid < 0 ? -1 : waitpid(pid, &status, 0);

	printf("%s: %s, status %#x\n", what, found == pid ? "ended" : strerror(errno), status);
}

static int levels(pid_t pid) /* of the line NSpid, and the last number of it */
{
	char path[64], line[256], *word;
	int count = 0, last = 0;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/status", pid);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof line, file))
		if (!strncmp(line, "NSpid:", 6))
			for (word = strtok(line + 6, "\t\n"); word; word = strtok(NULL, "\t\n"), count++)
				last = atoi(word);
	if (file)
		fclose(file);
	return count * 1000 + last;
}

static int names(void)
{
	pid_t one;

	printf("child: pid %d, tid %ld, parent %d, group %d, session %d\n", getpid(), syscall(SYS_gettid), getppid(),
	       getpgrp(), getsid(0));
	printf("child: setsid %d\n", setsid());
	printf("child: group %d, session %d\n", getpgrp(), getsid(0));
	if (!(one = fork()))
		_exit(getpid());
	end("its child, which returns its number", one);
	printf("it was %d; kill(1, 0) %d, kill(999, 0) %d\n", one, kill(1, 0), kill(999, 0));
	mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
	printf("mount %d\n", mount("proc", "/proc", "proc", 0, NULL));
	printf("levels and number: %d\n", levels(getpid()));
	return 1;
}

static int waits(void)
{
	listen_for(SIGUSR1);
	while (!caught)
		pause();
	printf("init: signal %d from %d\n", caught, sender);
	return 2;
}

static int stays(void)
{
	signal(SIGTERM, SIG_DFL);
	printf("init: kill itself %d\n", kill(getpid(), SIGKILL));
	while (!pause())
		;
	return 10;
}

static int leaves_children(void)
{
	int count;

	for (count = 0; count < 3; count++)
		if (!fork())
			for (;;)
				pause();
	return 3;
}

static int adopts(void)
{
	int status;
	pid_t found;

	if (!fork()) {
		if (!fork()) {
			while (getppid() != 1)
				sched_yield();
			_exit(5);
		}
		_exit(4);
	}
	while ((found = wait(&status)) > 0)
		printf("init: %d ended, status %#x\n", found, status);
	return 0;
}

static int nested(void)
{
	printf("outer: %d\n", getpid());
	end("inner", child(names, CLONE_NEWPID | CLONE_NEWNS));
	return 0;
}

static int unshared(void)
{
	int status, fd = open("/proc/self/ns/pid", O_RDONLY);
	pid_t first;

	printf("unshare %d\n", unshare(CLONE_NEWPID));
	printf("a thread: %ld\n", syscall(SYS_clone, CLONE_VM | CLONE_SIGHAND | CLONE_THREAD, 0, 0, 0, 0));
	if (!(first = fork()))
		_exit(getpid() == 1 ? 6 : 7);
	waitpid(first, &status, 0);
	printf("the first: status %#x, %s\n", status, first == 1 ? "here, too" : "here another");
	if (fork() < 0)
		printf("the second: %s\n", strerror(errno));
	printf("setns %d\n", setns(fd, CLONE_NEWPID));
	if (!(first = fork()))
		_exit(getpid() == 1 ? 6 : 7);
	end("the third", first);
	return 0;
}

static int subreaper(void)
{
	pid_t self = getpid();
	int status, orphan;

	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	if (!fork()) {
		if (!fork()) {
			while (getppid() != self)
				sched_yield();
			_exit(9);
		}
		_exit(8);
	}
	for (orphan = 0; wait(&status) > 0; orphan++)
		printf("%s: status %#x\n", orphan ? "orphan" : "child", status);
	return 0;
}

static void signalled(void)
{
	pid_t pid = child(waits, CLONE_NEWPID);

	usleep(20000);
	printf("levels and number: %d\n", levels(pid));
	kill(pid, SIGTERM); /* has no effect: it is an init */
	kill(pid, SIGUSR1);
	end("signalled", pid);
	pid = child(stays, CLONE_NEWPID);
	usleep(20000);
	kill(pid, SIGTERM);
	usleep(20000);
	printf("still there: %d\n", waitpid(pid, NULL, WNOHANG));
	kill(pid, SIGKILL);
	end("killed", pid);
}

int main(void)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	end("names", child(names, CLONE_NEWPID | CLONE_NEWNS));
	end("nested", child(nested, CLONE_NEWPID));
	signalled();
	end("leaves children", child(leaves_children, CLONE_NEWPID));
	end("adopts", child(adopts, CLONE_NEWPID));
	end("unshared", child(unshared, 0));
	end("subreaper", child(subreaper, 0));
	end("in a user namespace", child(names, CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS));
	printf("a thread of one: %ld\n",
	       syscall(SYS_clone, CLONE_NEWPID | CLONE_VM | CLONE_SIGHAND | CLONE_THREAD, 0, 0, 0, 0));
	return 0;
}
