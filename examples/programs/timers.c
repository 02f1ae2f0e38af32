// SPDX-License-Identifier: GPL-2.0
/* POSIX timers by timer_create(2), and their signals: once, periodic, blocked, to a thread, deleted, ignored.
 * The timer of setitimer(2): periodic, also while its signal is blocked. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const struct itimerspec once = { .it_value.tv_nsec = 5000000 };
static const struct itimerspec periodic = { { 0, 3000000 }, { 0, 3000000 } };
static const struct itimerspec off;
static const struct timespec tens_of_periods = { 0, 60000000 };
static volatile sig_atomic_t count, code, value;

static void handler(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	code = info->si_code;
	value = info->si_value.sival_int;
	count++;
}

static timer_t begin(int notify, int signal, const struct itimerspec *when)
{
	struct sigevent event = {
		.sigev_notify = notify, .sigev_signo = signal, .sigev_value.sival_int = 42,
	};
	timer_t timer;

	event._sigev_un._tid = gettid();
	if (timer_create(CLOCK_MONOTONIC, &event, &timer) || timer_settime(timer, 0, when, NULL))
		perror("timer");
	return timer;
}

static void waited(const char *what, const sigset_t *set)
{
	siginfo_t info = { 0 };
	int signal = sigtimedwait(set, &info, &tens_of_periods);

	printf("%s: signal %d, code %d, value %d, often late %d\n", what, signal, info.si_code,
	       info.si_value.sival_int, info.si_overrun > 5);
}

static void real_timer(void)
{
	static const struct itimerval periodic = { { 0, 3000 }, { 0, 3000 } }, off;
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };
	struct itimerval left;
	sigset_t set;

	count = 0;
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &periodic, NULL);
	while (count < 4)
		pause();
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	nanosleep(&tens_of_periods, NULL);
	waited("setitimer", &set);
	waited("setitimer", &set);
	setitimer(ITIMER_REAL, &off, &left);
	printf("period: %ld, code %d\n", left.it_interval.tv_usec, (int)code);
}

int main(void)
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };
	struct itimerspec left;
	sigset_t none, set;
	timer_t timer;

	sigaction(SIGUSR1, &action, NULL);
	sigemptyset(&none);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGRTMIN);

	sigprocmask(SIG_BLOCK, &set, NULL);
	timer = begin(SIGEV_SIGNAL, SIGUSR1, &once);
	sigsuspend(&none);
	printf("once: %d, code %d, value %d\n", (int)count, (int)code, (int)value);

	sigprocmask(SIG_UNBLOCK, &set, NULL);
	timer_settime(timer, 0, &periodic, NULL);
	while (count < 4)
		pause();
	sigprocmask(SIG_BLOCK, &set, NULL);
	printf("periodic: code %d, value %d\n", (int)code, (int)value);

	nanosleep(&tens_of_periods, NULL);
	waited("blocked", &set);
	timer_settime(timer, 0, &off, &left);
	printf("period: %ld\n", left.it_interval.tv_nsec);
	while (sigtimedwait(&set, NULL, &tens_of_periods) > 0)
		;

	timer_settime(timer, 0, &once, NULL);
	nanosleep(&tens_of_periods, NULL);
	printf("delete: %d\n", timer_delete(timer)); /* newer kernels delete its pending signal, too */
	sigtimedwait(&set, NULL, &tens_of_periods);

	timer = begin(SIGEV_THREAD_ID, SIGRTMIN, &once);
	waited("to a thread", &set);
	timer_delete(timer);

	begin(SIGEV_NONE, 0, &periodic);
	signal(SIGUSR2, SIG_IGN);
	timer = begin(SIGEV_SIGNAL, SIGUSR2, &periodic);
	nanosleep(&tens_of_periods, NULL);
	printf("ignored: %d\n", timer_gettime(timer, &left));

	real_timer();
	begin(SIGEV_SIGNAL, SIGUSR1, &once);
	nanosleep(&tens_of_periods, NULL);
	return 0; /* with a signal that is pending, and timers that run */
}
