// SPDX-License-Identifier: GPL-2.0
/* Follows the children and threads of a tracee by the options of ptrace(2), as strace -f and gdb do. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sched.h>
#include <unistd.h>

#define FOLLOW (PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | \
		PTRACE_O_TRACEVFORKDONE | PTRACE_O_TRACEEXIT)

static const char *program;

/* Waits for a change of a task; returns its status. */
static int changed(const char *what, pid_t task)
{
	int status = 0;
	pid_t found = waitpid(task, &status, __WALL);

	printf("%s %s %#x\n", what, found == task ? "changed" : strerrorname_np(errno), status);
	return status;
}

static unsigned long message(pid_t task)
{
	unsigned long word = 0;

	if (ptrace(PTRACE_GETEVENTMSG, task, 0, &word))
		printf("no message: %s\n", strerrorname_np(errno));
	return word;
}

static void go_on(pid_t task)
{
	if (ptrace(PTRACE_CONT, task, 0, 0))
		printf("does not continue: %s\n", strerrorname_np(errno));
}

/* A tracee that does something once its tracer is ready. */
static pid_t traced(void (*run)(void), long options)
{
	pid_t child = fork();

	if (!child) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		run();
		_exit(7);
	}
	changed("tracee", child);
	ptrace(PTRACE_SETOPTIONS, child, 0, options);
	go_on(child);
	return child;
}

static void forks(void)
{
	int status;
	pid_t child = fork();

	if (!child)
		_exit(3);
	waitpid(child, &status, 0);
	_exit(WEXITSTATUS(status) + 1);
}

static void vforks(void)
{
	if (!vfork())
		_exit(4);
}

static void *ends(void *unused)
{
	return NULL;
}

static void threads(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, ends, NULL);
	pthread_join(thread, NULL);
	raise(SIGCHLD); /* it ends when its tracer knows that the thread has */
}

static void executes(void)
{
	execl(program, program, "nothing", NULL);
}

static void clones(int flag, int code)
{
	int status;
	pid_t child = syscall(SYS_clone, flag | SIGCHLD, 0, 0, 0, 0);

	if (!child)
		_exit(code);
	waitpid(child, &status, 0);
	_exit(WEXITSTATUS(status));
}

static void untraced(void)
{
	clones(CLONE_UNTRACED, 5);
}

static void traced_by_flag(void)
{
	clones(CLONE_PTRACE, 6);
}

static void end(const char *what, pid_t task)
{
	changed(what, task);
	printf("its exit code %#lx\n", message(task));
	go_on(task);
	changed(what, task);
}

/* A tracee has a child, or a thread, whose life is followed to its end. */
static void follow(const char *title, void (*run)(void), int is_vfork)
{
	pid_t parent, child;

	printf("-- %s\n", title);
	parent = traced(run, FOLLOW);
	changed("event", parent);
	child = message(parent);
	printf("its child %d\n", child > parent);
	changed("child begins", child);
	go_on(child);
	go_on(parent);
	end("child", child);
	if (is_vfork) {
		changed("event", parent);
		printf("the same child %d\n", message(parent) == (unsigned long)child);
		go_on(parent);
	}
	changed("SIGCHLD", parent);
	go_on(parent);
	end("parent", parent);
}

static void of_execve(void)
{
	pid_t child;

	printf("-- execve\n");
	child = traced(executes, FOLLOW);
	changed("event", child);
	printf("its former number %d\n", message(child) == (unsigned long)child);
	go_on(child);
	end("tracee", child);
	child = traced(executes, 0);
	changed("SIGTRAP without the option", child);
	go_on(child);
	changed("tracee", child);
}

static void of_flags(void)
{
	siginfo_t info;
	unsigned long nobody;
	pid_t parent, child;

	printf("-- CLONE_UNTRACED\n");
	parent = traced(untraced, PTRACE_O_TRACEFORK);
	changed("SIGCHLD", parent);
	go_on(parent);
	changed("parent", parent);
	printf("no message %d\n", ptrace(PTRACE_GETEVENTMSG, parent, 0, &nobody) < 0);
	printf("-- CLONE_PTRACE\n");
	parent = traced(traced_by_flag, 0);
	do
		waitid(P_ALL, 0, &info, WEXITED | WSTOPPED | WNOWAIT | __WALL);
	while (info.si_pid == parent);
	child = info.si_pid;
	changed("child begins", child);
	go_on(child);
	changed("child", child);
	changed("SIGCHLD", parent);
	go_on(parent);
	changed("parent", parent);
}

/* With PTRACE_SEIZE a child begins with an event. */
static void seized(void)
{
	int ends[2];
	pid_t parent, child;

	printf("-- PTRACE_SEIZE\n");
	pipe(ends);
	parent = fork();
	if (!parent) {
		char byte;

		read(ends[0], &byte, 1);
		forks();
	}
	printf("seize %ld\n", ptrace(PTRACE_SEIZE, parent, 0, PTRACE_O_TRACEFORK));
	write(ends[1], "x", 1);
	changed("event", parent);
	child = message(parent);
	changed("child begins", child);
	go_on(child);
	go_on(parent);
	changed("child", child);
	changed("SIGCHLD", parent);
	go_on(parent);
	changed("parent", parent);
}

/* A tracer that ends lets the threads of a process end that it has not waited for. */
static void negligent(void)
{
	pid_t tracer, child, thread;
	int status;

	printf("-- a thread that nobody waits for\n");
	tracer = fork();
	if (!tracer) {
		siginfo_t info;

		child = traced(threads, PTRACE_O_TRACECLONE);
		changed("event", child);
		thread = message(child);
		changed("thread begins", thread);
		go_on(thread);
		printf("it has ended %d\n", waitid(P_PID, thread, &info, WEXITED | WNOWAIT | __WALL));
		_exit(0);
	}
	waitpid(tracer, &status, 0);
	printf("the tracer's end %#x\n", status);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return 9;
	program = argv[0];
	setvbuf(stdout, NULL, _IONBF, 0);
	follow("fork", forks, 0);
	follow("vfork", vforks, 1);
	follow("clone", threads, 0);
	of_execve();
	of_flags();
	seized();
	negligent();
	return 0;
}
