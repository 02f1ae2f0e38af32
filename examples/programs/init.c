/* An init of its own: what is special about process 1. The file /how says how it ends. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static volatile sig_atomic_t caught;

static void count(int number)
{
	caught++;
}

/* A child that leaves a child behind, which init inherits. */
static void leave_orphan(void)
{
	if (fork() == 0) {
		usleep(20000);
		printf("orphan: my parent is %d\n", getppid());
		_exit(7);
	}
	_exit(5);
}

static void adopt(void)
{
	int status, number = 0, codes = 0;

	if (fork() == 0)
		leave_orphan();
	while (wait(&status) > 0) {
		number++;
		codes += WEXITSTATUS(status);
	}
	printf("init: %d children, their statuses add up to %d\n", number, codes);
}

/* Signals for which init has no handler do not reach it, whoever sends them. */
static void be_shot_at(void)
{
	static const int numbers[] = { SIGTERM, SIGINT, SIGKILL, SIGSTOP, SIGSEGV, SIGUSR1, SIGUSR1 };
	int status;

	signal(SIGUSR1, count);
	if (fork() == 0) {
		for (unsigned int n = 0; n < sizeof numbers / sizeof *numbers; n++) {
			if (kill(1, numbers[n]))
				_exit(1);
			usleep(1000);
		}
		_exit(0);
	}
	while (waitpid(-1, &status, 0) < 0)
		;
	raise(SIGTERM);
	kill(1, SIGKILL);
	printf("init: still here, %d signals caught, the child's status is %d\n", caught, status);
}

static void end(void)
{
	char how[16] = "";
	int fd = open("/how", O_RDONLY);

	if (fd < 0 || read(fd, how, sizeof how - 1) < 0)
		perror("/how");
	printf("init: %s\n", how);
	fflush(stdout);
	tcdrain(1);
	if (strcmp(how, "poweroff") == 0)
		reboot(RB_POWER_OFF);
	if (strcmp(how, "restart") == 0)
		reboot(RB_AUTOBOOT);
	if (strcmp(how, "crash") == 0)
		*(volatile char *)0 = 0;
	if (strcmp(how, "abort") == 0)
		abort();
	exit(3);
}

int main(int argc, char **argv, char **environment)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	printf("init: pid %d, parent %d, group %d, session %d\n", getpid(), getppid(), getpgrp(), getsid(0));
	for (int n = 0; n < argc; n++)
		printf("init: argument %s\n", argv[n]);
	for (int n = 0; environment[n]; n++)
		if (strncmp(environment[n], "HOME=", 5) == 0 || strncmp(environment[n], "TERM=", 5) == 0)
			printf("init: %s\n", environment[n]);
	printf("init: a terminal at %d%d%d\n", isatty(0), isatty(1), isatty(2));
	adopt();
	be_shot_at();
	end();
	return 0;
}
