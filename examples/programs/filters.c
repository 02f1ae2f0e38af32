// SPDX-License-Identifier: GPL-2.0-only
/* Filters of system calls, seccomp(2): children and threads of a process have them, too. Build it with -static -pthread. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static long answer(int call, unsigned int action)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0 /* struct seccomp_data: nr */),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(filter) / sizeof(*filter), filter };

	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static void *asks(void *who)
{
	int failed = syscall(SYS_getppid) < 0;

	printf("%s: %s, mode %d\n", (char *)who, failed ? strerrorname_np(errno) : "allowed", prctl(PR_GET_SECCOMP));
	return NULL;
}

int main(void)
{
	pthread_t thread;
	int status;

	setvbuf(stdout, NULL, _IONBF, 0);
	asks("before");
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	printf("filter %ld\n", answer(SYS_getppid, SECCOMP_RET_ERRNO | EPERM));
	asks("itself");
	if (!fork()) {
		asks("its child");
		answer(SYS_getuid, SECCOMP_RET_KILL_PROCESS);
		if (!fork())
			syscall(SYS_getuid);
		wait(&status);
		printf("the child's child: signal %d\n", status & 0x7f);
		_exit(0);
	}
	wait(&status);
	pthread_create(&thread, NULL, asks, "its thread");
	pthread_join(thread, NULL);
	printf("getuid %ld\n", syscall(SYS_getuid) ? -1L : 0L);
	return 0;
}
