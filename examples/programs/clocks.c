/* Clocks that are read without a system call, timers that would wake the machine, and the real-time clock; with an
   argument, the alarm of that. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/rtc.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

static long long nanoseconds(clockid_t clock)
{
	struct timespec now = { 0 };

	clock_gettime(clock, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static int mapped(const char *name)
{
	char line[256];
	int found = 0;
	FILE *file = fopen("/proc/self/maps", "r");

	while (file && fgets(line, sizeof line, file))
		found += strstr(line, name) != NULL;
	if (file)
		fclose(file);
	return found;
}

static void check(const char *what)
{
	struct timeval day;
	long long coarse, fine, late;
	unsigned cpu = 9, node = 9;

	gettimeofday(&day, NULL);
	printf("%s: vDSO %s, mapped %d, time %lld, ", what, getauxval(AT_SYSINFO_EHDR) ? "yes" : "no", mapped("[vdso]"),
	       (long long)(time(NULL) - day.tv_sec) / 2);
	coarse = nanoseconds(CLOCK_MONOTONIC_COARSE);
	fine = nanoseconds(CLOCK_MONOTONIC);
	late = nanoseconds(CLOCK_REALTIME) - nanoseconds(CLOCK_REALTIME_COARSE);
	printf("coarse %d, real %d, ", fine >= coarse && fine - coarse < 100000000, late >= 0 && late < 100000000);
	getcpu(&cpu, &node);
	printf("cpu %u, node %u\n", cpu, node);
}

static void sleeps(clockid_t clock)
{
	struct timespec time = { 0, 10000000 }, resolution = { 0 };
	long long before = nanoseconds(clock);
	int error = clock_nanosleep(clock, 0, &time, NULL);

	printf("clock %d: getres %d, nanosleep %d, 10 ms %d\n", clock, clock_getres(clock, &resolution), error,
	       nanoseconds(clock) - before >= 10000000);
}

static void expires(clockid_t clock)
{
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	struct itimerspec time = { .it_value.tv_nsec = 5000000 };
	unsigned long long count = 0;
	int fd, signal = 0;
	sigset_t set;
	timer_t timer;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (timer_create(clock, &event, &timer) || timer_settime(timer, 0, &time, NULL))
		printf("timer: %s\n", strerror(errno));
	else
		sigwait(&set, &signal);
	fd = timerfd_create(clock, 0);
	if (timerfd_settime(fd, 0, &time, NULL) || read(fd, &count, sizeof count) < 0)
		printf("timerfd: %s\n", strerror(errno));
	close(fd);
	printf("clock %d: signal %d, timerfd %llu\n", clock, signal, count);
}

static void in_namespace(void)
{
	static const char offset[] = "monotonic 864000 0\n";
	int status, fd;
	long long before = nanoseconds(CLOCK_MONOTONIC);

	printf("unshare %d\n", unshare(CLONE_NEWTIME));
	fd = open("/proc/self/timens_offsets", O_WRONLY);
	printf("offset %zd\n", write(fd, offset, sizeof offset - 1));
	close(fd);
	if (!fork()) {
		printf("days later: %lld\n", (nanoseconds(CLOCK_MONOTONIC) - before) / 86400000000000);
		check("in a time namespace");
		exit(0);
	}
	wait(&status);
	printf("status %#x\n", status);
}

static time_t seconds(struct rtc_time *at)
{
	struct tm time = { .tm_sec = at->tm_sec, .tm_min = at->tm_min, .tm_hour = at->tm_hour, .tm_mday = at->tm_mday,
			   .tm_mon = at->tm_mon, .tm_year = at->tm_year };

	return timegm(&time);
}

static struct rtc_time broken_down(time_t at)
{
	struct tm *time = gmtime(&at);

	return (struct rtc_time){ .tm_sec = time->tm_sec, .tm_min = time->tm_min, .tm_hour = time->tm_hour,
				  .tm_mday = time->tm_mday, .tm_mon = time->tm_mon, .tm_year = time->tm_year };
}

static int open_rtc(void)
{
	int fd = open("/dev/rtc0", O_RDWR);

	if (fd < 0)
		printf("/dev/rtc0: %s\n", strerror(errno));
	return fd;
}

static int goes_off(void)
{
	int fd = open_rtc();
	struct rtc_time at = { 0 };
	unsigned long data = 0;
	time_t before;
	ssize_t size;

	ioctl(fd, RTC_RD_TIME, &at);
	before = seconds(&at);
	at = broken_down(before + 2);
	printf("alarm %d, ", ioctl(fd, RTC_ALM_SET, &at));
	printf("on %d, ", ioctl(fd, RTC_AIE_ON));
	size = read(fd, &data, sizeof data);
	printf("read %zd, flags %#lx, ", size, data);
	ioctl(fd, RTC_RD_TIME, &at);
	printf("2 s later %d\n", seconds(&at) - before >= 2);
	close(fd);
	return 0;
}

static void is_set(void)
{
	int fd = open_rtc();
	struct rtc_time at = { 0 };

	printf("read %d, ", ioctl(fd, RTC_RD_TIME, &at));
	printf("the system's %d\n", labs(seconds(&at) - time(NULL)) < 3);
	at = broken_down(951782399); /* 2000-02-28 23:59:59 */
	printf("set %d, ", ioctl(fd, RTC_SET_TIME, &at));
	usleep(1500000);
	printf("read %d, ", ioctl(fd, RTC_RD_TIME, &at));
	printf("%d-%02d-%02d %02d:%02d\n", at.tm_year + 1900, at.tm_mon + 1, at.tm_mday, at.tm_hour, at.tm_min);
	close(fd);
}

int main(int argc, char **argv)
{
	int status;

	setvbuf(stdout, NULL, _IONBF, 0);
	if (argc > 1)
		return goes_off();
	check("parent");
	if (!fork()) {
		check("child");
		exit(0);
	}
	wait(&status);
	printf("status %#x\n", status);
	sleeps(CLOCK_REALTIME_ALARM);
	sleeps(CLOCK_BOOTTIME_ALARM);
	expires(CLOCK_REALTIME_ALARM);
	expires(CLOCK_BOOTTIME_ALARM);
	in_namespace();
	is_set();
	return 0;
}
