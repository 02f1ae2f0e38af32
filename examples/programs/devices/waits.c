// SPDX-License-Identifier: GPL-2.0-only
/* What programs wait for: eventfds, signals, attributes that change. */
#include "devices.h"

#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

static volatile sig_atomic_t caught, value, code;

static void note(int signal, siginfo_t *info, void *context)
{
	(void)context;
	caught = signal;
	value = info->si_value.sival_int;
	code = info->si_code;
}

static uint64_t count_of(int file)
{
	uint64_t count = 0;

	read(file, &count, sizeof(count));
	return count;
}

void chime(void)
{
	struct itimerspec each = { { 0, 25000000 }, { 0, 25000000 } };
	struct sigaction action = { .sa_sigaction = note, .sa_flags = SA_SIGINFO };
	int file = open("/dev/chime", O_RDWR), bell = eventfd(0, 0), clock = timerfd_create(CLOCK_MONOTONIC, 0), n;
	int both = epoll_create1(0), signals;
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = 1 }, found[4];
	struct signalfd_siginfo queued;
	sigset_t set;

	show("epoll_ctl", epoll_ctl(both, EPOLL_CTL_ADD, bell, &event));
	event.data.u32 = 2;
	show("epoll_ctl", epoll_ctl(both, EPOLL_CTL_ADD, clock, &event));
	show("epoll_ctl of a file without poll", epoll_ctl(both, EPOLL_CTL_ADD, open("/tmp", O_RDONLY), &event));
	show("epoll_wait", epoll_wait(both, found, 4, 0));
	show("an eventfd", ioctl(file, _IO('c', 0), bell));
	show("no eventfd", ioctl(file, _IO('c', 0), file));
	show("no descriptor", ioctl(file, _IO('c', 0), -1));
	show("an eventfd", ioctl(file, _IO('c', 0), bell));
	timerfd_settime(clock, 0, &each, NULL);
	for (n = 0; n < 4; n++) {
		show("epoll_wait", epoll_wait(both, found, 4, 1000));
		printf("  %u: %llu\n", found[0].data.u32, (long long)count_of(found[0].data.u32 == 1 ? bell : clock));
	}
	show("the rest", epoll_wait(both, found, 4, 100));
	sigaction(SIGUSR1, &action, NULL);
	show("a signal", ioctl(file, _IO('c', 1), SIGUSR1));
	for (n = 0; n < 3; n++) {
		show("pause", pause());
		printf("  signal %d, code %d, value %d\n", caught, code, value);
	}
	show("no signal", ioctl(file, _IO('c', 1), 100));
	sigaction(SIGRTMIN + 3, &action, NULL);
	show("a signal at once", ioctl(file, _IO('c', 2), SIGRTMIN + 3));
	printf("  signal %d, code %d\n", caught, code);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signals = signalfd(-1, &set, 0);
	show("a signal", ioctl(file, _IO('c', 1), SIGUSR2));
	show("read of it", read(signals, &queued, sizeof(queued)));
	printf("  signal %u, code %d, value %d\n", queued.ssi_signo, queued.ssi_code, queued.ssi_int);
	usleep(50000);
	show("sigpending", sigpending(&set));
	show("pending", sigismember(&set, SIGUSR2));
	show("sigtimedwait", sigtimedwait(&set, NULL, &(struct timespec){ 0, 1000 }));
}

static const char gate[] = "/sys/devices/platform/gates/";

static int open_gate(const char *name, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "%s%s", gate, name);
	return open(path, flags);
}

static void put_gate(const char *name, const char *text)
{
	int file = open_gate(name, O_WRONLY);

	show(name, write(file, text, strlen(text)));
	close(file);
}

static pid_t reader_of(const char *name)
{
	pid_t child = fork();
	char text[16];

	if (!child) {
		ssize_t done = read(open_gate(name, O_RDONLY), text, sizeof(text));

		_exit(done < 0 ? 100 + errno : done > 0 ? text[0] - '0' : 99);
	}
	usleep(10000);
	return child;
}

/* The exit status of a child, or 200 and its signal; 0 if all are running. */
static int ended(void)
{
	int status = 0;

	waitpid(-1, &status, WNOHANG);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 200 + WTERMSIG(status);
}

void gates(void)
{
	struct pollfd changed = { open_gate("level", O_RDONLY), POLLPRI, 0 };
	char text[16] = "";
	pid_t child;
	int n, total = 0;

	show("read", read(changed.fd, text, sizeof(text)));
	show("poll", poll(&changed, 1, 10));
	put_gate("level", "5");
	show("poll", poll(&changed, 1, 1000));
	printf("  %#x\n", changed.revents);
	show("pread", pread(changed.fd, text, sizeof(text), 0));
	printf("  %s", text);
	show("poll", poll(&changed, 1, 10));
	child = fork();
	if (!child) {
		usleep(50000);
		put_gate("level", "6");
		_exit(0);
	}
	show("poll", poll(&changed, 1, 1000));
	waitpid(child, NULL, 0);
	for (n = 0; n < 3; n++)
		reader_of("ticket");
	show("ended", ended());
	put_gate("ticket", "1");
	usleep(10000);
	show("ended", ended());
	show("ended", ended());
	put_gate("ticket", "2");
	usleep(10000);
	for (n = 0; n < 2; n++)
		total += ended();
	show("ended, both", total);
	show("ended", ended());
	child = reader_of("ticket");
	kill(child, SIGTERM);
	usleep(10000);
	show("killed", ended());
	child = reader_of("done");
	put_gate("done", "x");
	usleep(10000);
	show("complete", ended());
	child = reader_of("done");
	usleep(600000);
	show("too late", ended());
	child = reader_of("done");
	kill(child, SIGINT);
	usleep(10000);
	show("killed", ended());
	n = open_gate("blob", O_RDONLY);
	show("lseek", lseek(n, 5990, SEEK_SET));
	show_read(n, 100);
	show_read(n, 100);
	show_file("/sys/devices/platform/gates/uevent");
	show_file("/sys/devices/platform/gates/modalias");
	put("/sys/bus/platform/drivers/gates/unbind", "gates");
	show_file("/sys/devices/platform/gates/level");
	put("/sys/bus/platform/drivers/gates/unbind", "gates");
	put("/sys/bus/platform/drivers/gates/bind", "gates");
	show_file("/sys/devices/platform/gates/level");
}
