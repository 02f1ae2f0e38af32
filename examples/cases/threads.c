// SPDX-License-Identifier: GPL-2.0-only
/* Kernel threads: creating, stopping, parking, and what kthread_stop() returns. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/sched/task.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("kernel threads");

static int until_stopped(void *data)
{
	pr_info("%s: begins, data \"%s\"\n", current->comm, (char *)data);
	while (!kthread_should_stop())
		schedule_timeout_interruptible(HZ);
	pr_info("%s: stops\n", current->comm);
	return 42;
}

static int at_once(void *data)
{
	pr_info("%s: begins and ends\n", current->comm);
	return 7;
}

static int parking(void *data)
{
	while (!kthread_should_stop()) {
		if (kthread_should_park()) {
			pr_info("%s: parks\n", current->comm);
			kthread_parkme();
			pr_info("%s: is back\n", current->comm);
		}
		schedule_timeout_interruptible(HZ);
	}
	return 0;
}

static int exits(void *data)
{
	pr_info("%s: kthread_complete_and_exit(5)\n", current->comm);
	kthread_complete_and_exit(data, 5);
}

static int __init threads_init(void)
{
	DECLARE_COMPLETION_ONSTACK(exited);
	struct task_struct *task;

	pr_info("I am %s, kernel thread %d\n", current->comm, !!(current->flags & PF_KTHREAD));

	task = kthread_run(until_stopped, "hello", "a%dth/%s", 7, "name-that-is-too-long");
	msleep(20);
	pr_info("kthread_stop() returned %d\n", kthread_stop(task));

	task = kthread_create(until_stopped, NULL, "never_woken");
	pr_info("kthread_stop() of one never woken returned %d\n", kthread_stop(task));

	task = kthread_create(until_stopped, "woken", "woken");
	pr_info("wake_up_process() returned %d\n", wake_up_process(task));
	msleep(20);
	pr_info("wake_up_process() returned %d\n", wake_up_process(task));
	pr_info("kthread_stop() returned %d\n", kthread_stop(task));

	task = kthread_create(at_once, NULL, "at_once");
	get_task_struct(task);
	wake_up_process(task);
	msleep(20);
	pr_info("kthread_stop() of one that has ended returned %d\n", kthread_stop(task));
	put_task_struct(task);

	task = kthread_run(parking, NULL, "parking");
	msleep(20);
	pr_info("kthread_park() returned %d\n", kthread_park(task));
	kthread_unpark(task);
	msleep(20);
	pr_info("kthread_stop() returned %d\n", kthread_stop(task));

	task = kthread_create(exits, &exited, "exits");
	get_task_struct(task);
	wake_up_process(task);
	wait_for_completion(&exited);
	pr_info("kthread_stop() of one that has exited returned %d\n", kthread_stop(task));
	put_task_struct(task);
	return 0;
}

static void __exit threads_exit(void)
{
}

module_init(threads_init);
module_exit(threads_exit);
