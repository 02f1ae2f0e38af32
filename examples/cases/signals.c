// SPDX-License-Identifier: GPL-2.0-only
/* Signals and kernel threads: ignored unless allowed, blocked never, fatal never. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched/signal.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("signals to a kernel thread");

static DECLARE_COMPLETION(finished);
static bool allow;

static int target(void *unused)
{
	long left;

	if (allow) {
		allow_signal(SIGUSR1);
		allow_signal(SIGUSR2);
		allow_signal(SIGKILL);
	}
	while (!kthread_should_stop()) {
		left = schedule_timeout_interruptible(msecs_to_jiffies(400));
		pr_info("%s: %s, signal_pending %d, fatal_signal_pending %d\n", current->comm,
			left ? "woken" : "slept well", !!signal_pending(current),
			!!fatal_signal_pending(current));
		while (signal_pending(current)) {
			int sig = kernel_dequeue_signal();

			pr_info("%s: dequeued %d\n", current->comm, sig);
			if (!sig)
				break;
		}
	}
	pr_info("%s: stops\n", current->comm);
	return 0;
}

static void send(int sig, struct task_struct *task)
{
	pr_info("send_sig(%d) returned %d\n", sig, send_sig(sig, task, 1));
}

static int __init signals_begin(void)
{
	struct task_struct *task;

	pr_info("nothing allowed\n");
	task = kthread_run(target, NULL, "deaf");
	msleep(100);
	send(SIGUSR1, task);
	send(SIGKILL, task);
	send(SIGTERM, task);
	msleep(400);
	kthread_stop(task);

	pr_info("USR1, USR2 and KILL allowed\n");
	allow = true;
	task = kthread_run(target, NULL, "hearing");
	msleep(100);
	send(SIGTERM, task);
	send(SIGUSR2, task);
	send(SIGUSR1, task);
	send(SIGUSR1, task);
	msleep(100);
	send(SIGKILL, task);
	msleep(100);
	send(65, task);
	kthread_stop(task);
	return 0;
}

static void __exit signals_exit(void)
{
}

module_init(signals_begin);
module_exit(signals_exit);
