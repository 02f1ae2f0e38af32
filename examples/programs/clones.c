// SPDX-License-Identifier: GPL-2.0
/* Children with the options of clone(2) and clone3(2); with the argument "pids", those with a number of choice. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define STACK 65536
#define IOPRIO(level) (2 << 13 | (level))
#ifndef P_PIDFD
#define P_PIDFD 3
#endif

typedef int work(void);

static const char *program;
static char *stack;
static volatile int caught, shared;
static pid_t told, tid;
static int pipes[2];

int clone(int (*function)(void *), void *stack, int flags, void *argument, ...);

static const char *name_of_error(void)
{
	return strerrorname_np(errno);
}

static void catch(int number)
{
	caught++;
}

static const char *action(int number)
{
	struct sigaction now;

	sigaction(number, NULL, &now);
	return now.sa_handler == SIG_DFL ? "default" : now.sa_handler == SIG_IGN ? "ignored" : "caught";
}

/* clone3(2) of a child that ends with what it does; without a stack, it has a copy of the parent's memory. */
static pid_t child3(struct clone_args *arguments, size_t size, work *does)
{
	pid_t child = syscall(SYS_clone3, arguments, size);

	if (!child)
		_exit(does());
	return child;
}

static int run(void *does)
{
	return ((work *)does)();
}

/* A child that shares the memory. */
static pid_t sharing(int flags, work *does)
{
	return clone(run, stack + STACK, flags | CLONE_VM, does, &told, NULL, &tid);
}

static void end(const char *what, pid_t child, int options)
{
	int status = 0;
	pid_t found;

	if (child < 0) {
		printf("%s: %s\n", what, name_of_error());
		return;
	}
	found = waitpid(child, &status, options);
	printf("%s: %s, status %#x\n", what, found == child ? "ended" : name_of_error(), status);
}

static int nothing(void)
{
	return 3;
}

static int prints_actions(void)
{
	printf("child: USR1 %s, USR2 %s, TERM %s\n", action(SIGUSR1), action(SIGUSR2), action(SIGTERM));
	return 4;
}

static void clear_sighand(void)
{
	struct clone_args args = { .flags = CLONE_CLEAR_SIGHAND, .exit_signal = SIGCHLD };

	signal(SIGUSR1, catch);
	signal(SIGUSR2, SIG_IGN);
	end("CLEAR_SIGHAND", child3(&args, sizeof args, prints_actions), 0);
	args.flags |= CLONE_SIGHAND | CLONE_VM;
	end("CLEAR_SIGHAND and SIGHAND", child3(&args, sizeof args, prints_actions), 0);
	printf("parent: USR1 %s\n", action(SIGUSR1));
}

static int sets_actions(void)
{
	signal(SIGUSR1, SIG_IGN);
	signal(SIGTERM, catch);
	shared = 1;
	return 5;
}

static int signals_itself(void)
{
	kill(getpid(), SIGTERM);
	return caught;
}

static int executes(void)
{
	execl(program, program, "actions", NULL);
	return 1;
}

static int outlives(void)
{
	char byte;

	close(pipes[1]);
	read(pipes[0], &byte, 1);
	signal(SIGUSR2, catch);
	kill(getpid(), SIGUSR2);
	_exit(caught == 1 && !strcmp(action(SIGUSR1), "caught") ? 7 : 8);
}

static int has_child_that_outlives(void)
{
	signal(SIGUSR1, catch);
	caught = 0;
	printf("grandchild %d\n", sharing(CLONE_SIGHAND | CLONE_PARENT, outlives) > 0);
	_exit(6);
}

static void sighand(void)
{
	pid_t child;
	int status;

	signal(SIGUSR1, catch);
	signal(SIGTERM, SIG_DFL);
	end("SIGHAND", sharing(CLONE_SIGHAND | SIGCHLD, sets_actions), 0);
	printf("parent: USR1 %s, TERM %s, shared %d\n", action(SIGUSR1), action(SIGTERM), shared);
	caught = 0;
	end("signal", sharing(CLONE_SIGHAND | SIGCHLD, signals_itself), 0);
	end("execve", sharing(CLONE_SIGHAND | SIGCHLD, executes), 0);
	printf("parent: TERM %s\n", action(SIGTERM));
	end("VFORK", sharing(CLONE_SIGHAND | CLONE_VFORK | SIGCHLD, executes), 0);
	sets_actions();
	end("VM alone", sharing(SIGCHLD, sets_actions), 0);
	errno = 0;
	printf("SIGHAND without VM: %ld", syscall(SYS_clone, CLONE_SIGHAND | SIGCHLD, 0, 0, 0, 0));
	printf(" %s\n", name_of_error());
	/* The handlers remain when the process ends that had them first. */
	pipe(pipes);
	child = fork();
	if (!child)
		has_child_that_outlives();
	end("parent of a sibling", child, 0);
	write(pipes[1], "x", 1);
	close(pipes[1]);
	child = waitpid(-1, &status, 0);
	printf("its sibling: %d, status %#x\n", child > 0, status);
}

static void opens_pidfd(int is_blocking)
{
	int fd = -1, status;
	siginfo_t info = { 0 };
	char byte;
	struct pollfd ready = { .events = POLLIN };
	struct clone_args args = { .flags = CLONE_PIDFD, .pidfd = (uintptr_t)&fd, .exit_signal = SIGCHLD };
	pid_t child;

	pipe(pipes);
	child = syscall(SYS_clone3, &args, sizeof args);
	if (!child) {
		close(pipes[1]);
		read(pipes[0], &byte, 1);
		_exit(9);
	}
	printf("pidfd: %d, close-on-exec %d\n", fd > 2, fcntl(fd, F_GETFD));
	ready.fd = fd;
	printf("poll: %d\n", poll(&ready, 1, 0));
	status = fcntl(fd, F_GETFL);
	if (!is_blocking)
		fcntl(fd, F_SETFL, status | O_NONBLOCK);
	status = waitid(P_PIDFD, fd, &info, WEXITED | (is_blocking ? WNOHANG : 0));
	printf("waitid while it runs: %d %s\n", status, status ? name_of_error() : "");
	printf("signal 0: %ld\n", syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0));
	close(pipes[0]);
	close(pipes[1]);
	poll(&ready, 1, -1);
	printf("poll: %#x\n", ready.revents);
	status = waitid(P_PIDFD, fd, &info, WEXITED);
	printf("waitid: %d, its %d, code %d status %d\n", status, info.si_pid == child, info.si_code, info.si_status);
	status = waitid(P_PIDFD, fd, &info, WEXITED);
	printf("waitid again: %d %s\n", status, name_of_error());
	status = syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0);
	printf("signal 0: %d %s\n", status, name_of_error());
	close(fd);
}

static void pidfds(void)
{
	pid_t child;
	int fd = 77, lowest;
	siginfo_t info;
	struct clone_args args = { .flags = CLONE_PIDFD, .pidfd = 4096, .exit_signal = SIGCHLD };

	opens_pidfd(1);
	opens_pidfd(0);
	lowest = dup(0);
	end("bad address", child3(&args, sizeof args, nothing), 0);
	close(dup(0) == lowest + 1 ? lowest + 1 : -1); /* no file stays open */
	printf("files: %d\n", dup(0) == lowest + 1);
	child = syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, &fd, 0, 0);
	if (!child)
		_exit(fd == 77 ? 0 : 10);
	printf("its number is where the parent's tid would be: %d\n", fd != 77);
	end("clone(PIDFD)", child, 0);
	end("PIDFD and DETACHED", syscall(SYS_clone, CLONE_PIDFD | CLONE_DETACHED | SIGCHLD, 0, &fd, 0, 0), 0);
	end("PIDFD and PARENT_SETTID", syscall(SYS_clone, CLONE_PIDFD | CLONE_PARENT_SETTID | SIGCHLD, 0, &fd, 0, 0), 0);
	printf("waitid of a file: %d", waitid(P_PIDFD, 0, &info, WEXITED));
	printf(" %s\n", name_of_error());
	printf("waitid of no file: %d", waitid(P_PIDFD, 999, &info, WEXITED));
	printf(" %s\n", name_of_error());
}

static int has_sibling(void)
{
	pid_t sibling = syscall(SYS_clone, CLONE_PARENT, 0, 0, 0, 0);

	if (!sibling)
		_exit(11);
	printf("child: %s", waitpid(sibling, NULL, __WALL) < 0 ? name_of_error() : "waited");
	printf("\n");
	return 12;
}

static void parents(void)
{
	int status, i, codes = 0;
	pid_t child = fork();

	if (!child)
		_exit(has_sibling());
	for (i = 0; i < 2; i++) {
		waitpid(-1, &status, 0);
		codes += WEXITSTATUS(status);
	}
	printf("both have ended: %d\n", codes);
}

static int has_number(void)
{
	return tid == getpid() ? 13 : 14;
}

static void numbers(void)
{
	pid_t child;
	const int all = CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;

	told = tid = 0;
	child = syscall(SYS_clone, all | SIGCHLD, 0, &told, &tid, 0);
	if (!child)
		_exit(has_number());
	printf("parent: told %d, its own %d\n", told == child, tid);
	end("numbers", child, 0);
	child = sharing(all | CLONE_VFORK | SIGCHLD, has_number);
	printf("shared memory: told %d, cleared %d\n", told == child, !tid);
	end("numbers", child, 0);
	child = syscall(SYS_clone, CLONE_PARENT_SETTID | SIGCHLD, 0, 8, 0, 0);
	if (!child)
		_exit(0);
	end("bad address", child, 0);
}

static void exit_signals(void)
{
	struct clone_args args = { .exit_signal = SIGUSR1 };
	siginfo_t info;
	pid_t child;

	signal(SIGUSR1, catch);
	caught = 0;
	child = child3(&args, sizeof args, nothing);
	end("USR1", child, 0);
	end("USR1 by __WCLONE", child, __WCLONE);
	printf("caught %d\n", caught);
	args.exit_signal = 0;
	child = child3(&args, sizeof args, nothing);
	end("no signal", child, 0);
	end("no signal by __WALL", child, __WALL);
	args.exit_signal = SIGCHLD;
	child = child3(&args, sizeof args, nothing);
	end("SIGCHLD by __WCLONE", child, __WCLONE);
	end("SIGCHLD", child, 0);
	signal(SIGCHLD, SIG_IGN);
	child = child3(&args, sizeof args, nothing);
	end("SIGCHLD ignored", child, 0);
	args.exit_signal = SIGUSR2;
	end("USR2, SIGCHLD ignored", child3(&args, sizeof args, nothing), __WALL);
	signal(SIGCHLD, SIG_DFL);
	args.exit_signal = SIGUSR1;
	child = child3(&args, sizeof args, executes); /* execve(2) makes it a usual child */
	waitid(P_PID, child, &info, WEXITED | WNOWAIT | __WALL);
	end("USR1, execve", child, 0);
	args.exit_signal = 65;
	end("signal 65", child3(&args, sizeof args, nothing), 0);
	args.exit_signal = SIGCHLD;
	args.flags = CLONE_PARENT;
	end("PARENT with a signal", child3(&args, sizeof args, nothing), 0);
	args.flags = 0xff;
	end("low bits of flags", child3(&args, sizeof args, nothing), 0);
	args.flags = CLONE_VFORK;
	end("VFORK", child3(&args, sizeof args, nothing), 0);
	end("small size", child3(&args, 8, nothing), 0);
	end("version 0", child3(&args, CLONE_ARGS_SIZE_VER0, nothing), 0);
}

static int changes(void)
{
	chdir("/dev");
	umask(0);
	close(pipes[0]);
	syscall(SYS_ioprio_set, 1, 0, IOPRIO(7));
	return 15;
}

static void share_what(const char *what, int flags)
{
	char path[64];

	chdir("/");
	umask(022);
	pipe(pipes);
	end(what, syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0) ?: (_exit(changes()), 0), 0);
	getcwd(path, sizeof path);
	printf("%s, umask %o, file closed %d\n", path, umask(022), fcntl(pipes[0], F_GETFD) < 0);
	close(pipes[0]);
	close(pipes[1]);
}

static int prints_priority(void)
{
	printf("child: priority %#lx\n", syscall(SYS_ioprio_get, 1, 0));
	syscall(SYS_ioprio_set, 1, 0, IOPRIO(6));
	return 16;
}

static void priorities(const char *what, unsigned long flags)
{
	syscall(SYS_ioprio_set, 1, 0, IOPRIO(3));
	end(what, syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0) ?: (_exit(prints_priority()), 0), 0);
	printf("parent: priority %#lx\n", syscall(SYS_ioprio_get, 1, 0));
}

static int prints_stack(void)
{
	stack_t now;

	sigaltstack(NULL, &now);
	printf("child: signal stack %s\n", now.ss_flags & SS_DISABLE ? "none" : "inherited");
	return 17;
}

static void signal_stacks(void)
{
	stack_t own = { .ss_sp = malloc(STACK), .ss_size = STACK };

	sigaltstack(&own, NULL);
	end("VM", sharing(SIGCHLD, prints_stack), 0);
	end("VM and VFORK", sharing(CLONE_VFORK | SIGCHLD, prints_stack), 0);
	end("copy", fork() ?: (_exit(prints_stack()), 0), 0);
}

static void choose(const char *what, pid_t *numbers, int count)
{
	struct clone_args args = { .set_tid = (uintptr_t)numbers, .set_tid_size = count, .exit_signal = SIGCHLD };
	pid_t child = syscall(SYS_clone3, &args, sizeof args);

	if (!child)
		_exit(getpid() == *numbers ? 18 : 19);
	if (child > 0)
		printf("%s: its number %d\n", what, child == *numbers);
	end(what, child, 0);
}

static int is_nobody(void)
{
	pid_t number = 20000;

	setuid(1000);
	choose("nobody", &number, 1);
	number = 0;
	choose("nobody, 0", &number, 1);
	return 0;
}

static void pids(void)
{
	pid_t numbers[] = { 20000, 1, 0, -1, 1 << 22, getpid() }, leader;
	int status;

	choose("free", numbers, 1);
	choose("free again", numbers, 1);
	choose("init's", numbers + 1, 1);
	choose("0", numbers + 2, 1);
	choose("-1", numbers + 3, 1);
	choose("too high", numbers + 4, 1);
	choose("own", numbers + 5, 1);
	choose("two", numbers, 2);
	choose("none", NULL, 1);
	choose("no count", numbers, 0);
	pipe(pipes);
	leader = fork();
	if (!leader) {
		setsid();
		close(pipes[1]);
		if (!fork())
			read(pipes[0], &status, 1); /* its session has the leader's number */
		_exit(0);
	}
	waitpid(leader, &status, 0);
	choose("a session's", &leader, 1);
	close(pipes[1]);
	end("as nobody", fork() ?: (_exit(is_nobody()), 0), 0);
	leader = fork();
	if (!leader)
		_exit(0);
	printf("the next are as before: %d\n", leader < 20000);
	end("next", leader, 0);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	program = argv[0];
	stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (argc > 1 && !strcmp(argv[1], "actions"))
		return prints_actions();
	if (argc > 1) {
		pids();
		return 0;
	}
	clear_sighand();
	sighand();
	pidfds();
	parents();
	numbers();
	exit_signals();
	share_what("FS", CLONE_FS);
	share_what("FILES", CLONE_FILES);
	share_what("nothing", 0);
	priorities("IO", CLONE_IO);
	priorities("its own", 0);
	signal_stacks();
	return 0;
}
