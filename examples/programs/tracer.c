// SPDX-License-Identifier: GPL-2.0
/* Traces children by ptrace(2): stops, registers, system calls, single steps, attach and detach. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static long result(const char *what, long value)
{
	printf("%s %ld %s\n", what, value, value < 0 ? strerrorname_np(errno) : "");
	return value;
}

/* Waits for a change of the child. */
static void changed(const char *what, pid_t child)
{
	int status = 0;
	pid_t found = waitpid(child, &status, 0);

	printf("%s %d %#x\n", what, found == child, status);
}

static pid_t traced(void (*run)(void))
{
	pid_t child = fork();

	if (!child) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		run();
		_exit(7);
	}
	changed("stopped", child);
	return child;
}

static volatile int counter;
static volatile long word = 1234;

static void calls(void)
{
	getppid();
}

static void counts(void)
{
	while (counter < 1000000)
		counter++;
}

static void signals(void)
{
	raise(SIGUSR1);
	raise(SIGWINCH); /* it would be ignored */
}

static void sleeps(void)
{
	pause();
}

static void system_calls(void)
{
	struct user_regs_struct regs;
	pid_t child = traced(calls);
	int n;

	result("options", ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACESYSGOOD));
	for (n = 0; n < 2; n++) {
		ptrace(PTRACE_SYSCALL, child, 0, 0);
		changed("call", child);
		ptrace(PTRACE_GETREGS, child, 0, &regs);
		printf("%d %s\n", regs.orig_rax == SYS_getppid,
		       (long)regs.rax == -ENOSYS ? "begins" : regs.rax == (unsigned long)getpid() ? "ends" : "?");
	}
	regs.rax = 99;
	result("set", ptrace(PTRACE_SETREGS, child, 0, &regs));
	result("continue", ptrace(PTRACE_CONT, child, 0, 0));
	changed("end", child);
}

static void steps(void)
{
	struct user_regs_struct before, after;
	pid_t child = traced(counts);
	int n, moved = 0;

	for (n = 0; n < 20; n++) {
		ptrace(PTRACE_GETREGS, child, 0, &before);
		ptrace(PTRACE_SINGLESTEP, child, 0, 0);
		waitpid(child, NULL, 0);
		ptrace(PTRACE_GETREGS, child, 0, &after);
		moved += before.rip != after.rip;
	}
	printf("moved %d\n", moved);
	printf("peek %ld\n", ptrace(PTRACE_PEEKDATA, child, &word, 0));
	result("poke", ptrace(PTRACE_POKEDATA, child, &counter, 1000000L));
	result("no such address", ptrace(PTRACE_PEEKDATA, child, 8, 0));
	ptrace(PTRACE_CONT, child, 0, 0);
	changed("end", child);
}

static void delivery(void)
{
	siginfo_t info;
	pid_t child = traced(signals);

	ptrace(PTRACE_CONT, child, 0, 0);
	changed("a signal", child);
	result("its information", ptrace(PTRACE_GETSIGINFO, child, 0, &info));
	printf("%d %d\n", info.si_signo == SIGUSR1, info.si_code == SI_TKILL);
	ptrace(PTRACE_CONT, child, 0, 0); /* without it */
	changed("one that is ignored", child);
	ptrace(PTRACE_CONT, child, 0, SIGTERM);
	changed("another instead", child);
}

/* A child that waits for signals. */
static pid_t waiting(void)
{
	pid_t child = fork();

	if (!child)
		for (;;)
			pause();
	return child;
}

static void others(void)
{
	pid_t child = waiting();

	result("continue what is not traced", ptrace(PTRACE_CONT, child, 0, 0));
	result("attach", ptrace(PTRACE_ATTACH, child, 0, 0));
	changed("attached", child);
	result("twice", ptrace(PTRACE_ATTACH, child, 0, 0));
	result("detach", ptrace(PTRACE_DETACH, child, 0, 0));
	result("itself", ptrace(PTRACE_ATTACH, getpid(), 0, 0));
	kill(child, SIGKILL);
	changed("end", child);
	child = traced(sleeps);
	kill(child, SIGKILL);
	changed("killed where it stood", child);
}

/* A tracer that ends leaves its child running. */
static void abandoned(void)
{
	int ends[2], status;
	char byte = 0;
	pid_t tracer;

	pipe(ends);
	tracer = fork();
	if (!tracer) {
		if (!fork()) {
			ptrace(PTRACE_TRACEME, 0, 0, 0);
			raise(SIGSTOP);
			write(ends[1], "x", 1);
			_exit(0);
		}
		wait(&status);
		_exit(0);
	}
	waitpid(tracer, &status, 0);
	read(ends[0], &byte, 1);
	printf("abandoned %c\n", byte);
}

/* The end of a process is its tracer's to see first, then its parent's. */
static void between(void)
{
	pid_t tracer, child = waiting();

	tracer = fork();
	if (!tracer) {
		result("attach", ptrace(PTRACE_ATTACH, child, 0, 0));
		changed("attached", child);
		kill(child, SIGCONT);
		result("it stands still", ptrace(PTRACE_CONT, child, 0, 0));
		changed("SIGCONT", child);
		kill(child, SIGKILL);
		changed("end, for the tracer", child);
		_exit(0);
	}
	changed("the tracer's end", tracer);
	changed("end, for the parent", child);
}

/* A tracer that ends without waiting for its tracee leaves it to the parent. */
static void negligent(void)
{
	siginfo_t info;
	pid_t tracer, child = waiting();

	tracer = fork();
	if (!tracer) {
		result("attach", ptrace(PTRACE_ATTACH, child, 0, 0));
		changed("attached", child);
		kill(child, SIGKILL);
		result("it has ended", waitid(P_PID, child, &info, WEXITED | WNOWAIT));
		_exit(0);
	}
	changed("end, for the parent", child);
	changed("the tracer's end", tracer);
}

/* A stopped child is seized, and its tracer listens for the end of the stop, as strace does with what it starts. */
static void listening(void)
{
	int n, status;
	pid_t child = fork();

	if (!child) {
		raise(SIGSTOP);
		getppid();
		_exit(7);
	}
	waitpid(child, &status, WSTOPPED);
	result("seize", ptrace(PTRACE_SEIZE, child, 0, PTRACE_O_TRACEEXIT));
	result("interrupt", ptrace(PTRACE_INTERRUPT, child, 0, 0));
	changed("still stopped", child);
	result("listen", ptrace(PTRACE_LISTEN, child, 0, 0));
	result("nothing yet", waitpid(child, &status, WNOHANG));
	kill(child, SIGCONT);
	for (n = 0; n < 3; n++) {
		changed("continued", child);
		result("resume", ptrace(PTRACE_CONT, child, 0, 0));
	}
	changed("end", child);
}

int main(void)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	system_calls();
	steps();
	delivery();
	others();
	abandoned();
	between();
	negligent();
	listening();
	return 0;
}
