// SPDX-License-Identifier: GPL-2.0-only
/* A thread waits in request_module() for a slow helper and is sent a signal. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kmod.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched/signal.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("a waiter of a usermode helper gets a signal");

static int sig = SIGKILL;
module_param(sig, int, 0);

static DECLARE_COMPLETION(done);

static int waiter(void *unused)
{
	int ret;

	allow_signal(sig);
	ret = request_module("slow");
	pr_info("request_module() returned %d, signal_pending %d, fatal_signal_pending %d\n", ret,
		!!signal_pending(current), !!fatal_signal_pending(current));
	complete(&done);
	return 0;
}

static int __init killed_waiter_init(void)
{
	struct task_struct *task = kthread_run(waiter, NULL, "waiter");

	if (IS_ERR(task))
		return PTR_ERR(task);
	get_task_struct(task);
	msleep(500);
	pr_info("sending signal %d returned %d\n", sig, send_sig(sig, task, 1));
	wait_for_completion(&done);
	put_task_struct(task);
	return 0;
}

static void __exit killed_waiter_exit(void)
{
}

module_init(killed_waiter_init);
module_exit(killed_waiter_exit);
