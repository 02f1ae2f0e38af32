/* A tracer looks at the signals that are queued for its child: PTRACE_PEEKSIGINFO. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void peek(pid_t pid, unsigned long long from, unsigned flags, int count, siginfo_t *into)
{
	struct __ptrace_peeksiginfo_args args = { from, flags, count };
	long found = ptrace(PTRACE_PEEKSIGINFO, pid, &args, into);
	long index;

	printf("from %llu, flags %u, %d: %ld %s", from, flags, count, found, found < 0 ? strerror(errno) : "of them");
	for (index = 0; index < found; index++)
		printf(", %d code %d value %d", into[index].si_signo, into[index].si_code, into[index].si_value.sival_int);
	printf("\n");
}

static void queues(void)
{
	siginfo_t own = { .si_signo = SIGRTMIN + 2, .si_code = SI_TKILL };
	sigset_t all;
	int number;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	for (number = 0; number < 3; number++)
		sigqueue(getpid(), SIGRTMIN + number % 2, (union sigval){ .sival_int = 10 + number });
	own.si_value.sival_int = 7;
	syscall(SYS_rt_tgsigqueueinfo, getpid(), getpid(), own.si_signo, &own);
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	for (;;)
		raise(SIGSTOP);
}

int main(void)
{
	static siginfo_t found[8];
	int status;
	pid_t pid;

	setvbuf(stdout, NULL, _IONBF, 0);
	if (!(pid = fork()))
		queues();
	waitpid(pid, &status, 0);
	printf("status %#x\n", status);
	peek(pid, 0, PTRACE_PEEKSIGINFO_SHARED, 8, found);
	peek(pid, 1, PTRACE_PEEKSIGINFO_SHARED, 1, found);
	peek(pid, 3, PTRACE_PEEKSIGINFO_SHARED, 8, found);
	peek(pid, 0, 0, 8, found);
	peek(pid, 0, 2, 8, found);
	peek(pid, 0, 0, -1, found);
	peek(pid, -1ULL, 0, 1, found);
	peek(pid, 0, PTRACE_PEEKSIGINFO_SHARED, 1, (siginfo_t *)8);
	ptrace(PTRACE_KILL, pid, NULL, NULL);
	waitpid(pid, &status, 0);
	printf("status %#x\n", status);
	return 0;
}
