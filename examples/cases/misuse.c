// SPDX-License-Identifier: GPL-2.0-only
/* Calls in the wrong place, of which the kernel warns: by part=. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/kmod.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("calls functions where they must not be called");

static char *part = "reader_sleeps";
module_param(part, charp, 0);

static void nothing(struct kthread_work *work)
{
	pr_info("work in %s\n", current->comm);
}

static DEFINE_KTHREAD_WORK(item, nothing);

static int waits(void *unused)
{
	while (!kthread_should_stop())
		schedule_timeout_interruptible(1);
	return 0;
}

/* A reader may be preempted, but must not sleep; the kernel says so once. */
static void reader_sleeps(void)
{
	int i;

	for (i = 0; i < 2; i++) {
		rcu_read_lock();
		rcu_read_lock();
		msleep(1);
		rcu_read_unlock();
		rcu_read_unlock();
	}
	rcu_read_lock();
	pr_info("cond_resched() is no sleep\n");
	cond_resched();
	pr_info("request_module() returned %d\n", request_module("nonesuch"));
	rcu_read_unlock();
}

/* insmod is no kernel thread: it has no struct kthread, where the answer would be. */
static void no_thread(void)
{
	pr_info("kthread_func() is %p\n", kthread_func(current));
	pr_info("kthread_should_stop() is %d\n", kthread_should_stop());
}

static void no_data(void)
{
	pr_info("kthread_data() is %p\n", kthread_data(current));
}

static void stops_itself(void)
{
	pr_info("kthread_stop() is %d\n", kthread_stop(current));
}

static void stops_nothing(void)
{
	pr_info("kthread_stop() is %d\n", kthread_stop(NULL));
}

static void stops_an_error(void)
{
	pr_info("kthread_stop() is %d\n", kthread_stop(ERR_PTR(-ENOMEM)));
}

/* A thread is bound before it runs, and a work belongs to the worker that it was queued on first. */
static void too_late(void)
{
	struct task_struct *task = kthread_run(waits, NULL, "waits");
	struct kthread_worker *first = kthread_create_worker(0, "first");
	struct kthread_worker *second = kthread_create_worker(0, "second");

	msleep(20);
	kthread_bind(task, 0);
	kthread_stop(task);
	kthread_queue_work(first, &item);
	kthread_flush_work(&item);
	pr_info("kthread_queue_work() is %d\n", kthread_queue_work(second, &item));
	kthread_flush_work(&item);
	kthread_destroy_worker(second);
	kthread_destroy_worker(first);
}

static void taints(void)
{
	add_taint(TAINT_USER, LOCKDEP_STILL_OK);
	pr_info("test_taint() is %d\n", test_taint(TAINT_USER));
	add_taint(TAINT_AUX, LOCKDEP_NOW_UNRELIABLE);
	add_taint(TAINT_AUX, LOCKDEP_NOW_UNRELIABLE);
}

static const struct {
	const char *name;
	void (*run)(void);
} parts[] = {
	{ "reader_sleeps", reader_sleeps },
	{ "no_thread", no_thread },
	{ "no_data", no_data },
	{ "stops_itself", stops_itself },
	{ "stops_nothing", stops_nothing },
	{ "stops_an_error", stops_an_error },
	{ "too_late", too_late },
	{ "taints", taints },
};

static int __init misuse_init(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(parts); i++)
		if (!strcmp(parts[i].name, part))
			parts[i].run();
	return 0;
}

static void __exit misuse_exit(void)
{
}

module_init(misuse_init);
module_exit(misuse_exit);
