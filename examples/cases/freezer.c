// SPDX-License-Identifier: GPL-2.0-only
/* The freezer: which tasks and workqueues stop while hibernate_quiet_exec() runs a function, and how they go on. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/freezer.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/suspend.h>
#include <linux/umh.h>
#include <linux/workqueue.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("freezes all tasks that can be frozen");

static char *part = "";
module_param(part, charp, 0444);

static DECLARE_WAIT_QUEUE_HEAD(queue);

enum { POLLS, ASKS, WAITS, NEVER, REFUSES, THREADS };
static const char *const names[] = { "fr_polls", "fr_asks", "fr_waits", "fr_never", "fr_refuses" };
static struct task_struct *threads[THREADS];
static int frozen_times[THREADS];

static int polls(void *data)
{
	set_freezable();
	while (!kthread_should_stop()) {
		frozen_times[POLLS] += try_to_freeze();
		schedule_timeout_interruptible(HZ / 20);
	}
	return 0;
}

static int asks(void *data)
{
	bool was_frozen;

	set_freezable();
	while (!kthread_freezable_should_stop(&was_frozen)) {
		frozen_times[ASKS] += was_frozen;
		schedule_timeout_interruptible(HZ / 20);
	}
	return 0;
}

static int waits(void *data)
{
	set_freezable();
	while (!kthread_should_stop())
		wait_event_freezable(queue, kthread_should_stop());
	return 0;
}

static int never(void *data)
{
	while (!kthread_should_stop()) {
		frozen_times[NEVER] += try_to_freeze();
		schedule_timeout_interruptible(HZ / 20);
	}
	return 0;
}

static int refuses(void *data)
{
	set_freezable();
	while (!kthread_should_stop())
		schedule_timeout_uninterruptible(HZ / 20);
	return 0;
}

static int (*const functions[])(void *data) = { polls, asks, waits, never, refuses };

static void start(int number)
{
	threads[number] = kthread_run(functions[number], NULL, "%s", names[number]);
}

static void stop(int number)
{
	if (threads[number])
		kthread_stop(threads[number]);
}

static void show(const char *name, struct task_struct *task)
{
	if (task)
		pr_info("%s: freezing %d, frozen %d, PF_NOFREEZE %d\n", name, freezing(task),
			READ_ONCE(task->__state) == TASK_FROZEN, !!(task->flags & PF_NOFREEZE));
}

static void show_all(void)
{
	struct task_struct *task;
	int i, left = 0;

	for (i = 0; i < THREADS; i++)
		show(names[i], threads[i]);
	rcu_read_lock();
	show("init", pid_task(find_vpid(1), PIDTYPE_PID));
	show("kthreadd", pid_task(find_vpid(2), PIDTYPE_PID));
	for_each_process(task)
		left += freezing(task) && READ_ONCE(task->__state) != TASK_FROZEN;
	rcu_read_unlock();
	pr_info("current: freezing %d, PF_SUSPEND_TASK %d\n", freezing(current), !!(current->flags & PF_SUSPEND_TASK));
	pr_info("%d tasks are freezing and not frozen\n", left);
}

static int tasks_quiet(void *data)
{
	show_all();
	wake_up_process(threads[POLLS]);
	wake_up(&queue);
	msleep(200);
	pr_info("a wakeup changes nothing: %d %d\n", frozen_times[POLLS], READ_ONCE(threads[WAITS]->__state) == TASK_FROZEN);
	return 33;
}

static struct workqueue_struct *wq;

static void work(struct work_struct *item)
{
	pr_info("work runs\n");
}

static DECLARE_WORK(item, work);
static DECLARE_WORK(plain, work);
static DECLARE_WORK(system_item, work);
static DECLARE_DELAYED_WORK(delayed, work);

static int queues_quiet(void *data)
{
	pr_info("queued: %d %d\n", queue_work(wq, &item), queue_work(system_freezable_wq, &system_item));
	pr_info("delayed: %d\n", queue_delayed_work(wq, &delayed, 1));
	pr_info("on a queue that is not freezable: %d\n", schedule_work(&plain));
	msleep(50);
	pr_info("pending: %d %d %d %d\n", work_pending(&item), work_pending(&system_item),
		delayed_work_pending(&delayed), work_pending(&plain));
	pr_info("cancelled: %d\n", cancel_work_sync(&system_item));
	return 0;
}

static char *helper[] = { "/sbin/helper", NULL };
static char *slow[] = { "/sbin/slow", NULL };
static char *environment[] = { NULL };

static int helpers_quiet(void *data)
{
	int result = call_usermodehelper(helper[0], helper, environment, UMH_WAIT_PROC);
	struct task_struct *task;

	pr_info("a helper: %d\n", result);
	pr_info("request_module: %d\n", request_module("fr_none"));
	pr_info("usermodehelper_read_trylock: %d\n", usermodehelper_read_trylock());
	pr_info("usermodehelper_read_lock_wait: %ld\n", usermodehelper_read_lock_wait(2));
	rcu_read_lock();
	for_each_process(task)
		if (!strcmp(task->comm, "slow"))
			show("slow", task);
	rcu_read_unlock();
	return 0;
}

static int caller(void *data)
{
	int result = call_usermodehelper(helper[0], helper, environment, (long)data);

	pr_info("wait %ld: %d\n", (long)data, result);
	while (!kthread_should_stop())
		msleep(1);
	return 0;
}

static void states(void)
{
	static const long waits[] = { UMH_WAIT_PROC, UMH_WAIT_PROC | UMH_KILLABLE, UMH_WAIT_PROC | UMH_FREEZABLE,
				      UMH_WAIT_PROC | UMH_KILLABLE | UMH_FREEZABLE };
	struct task_struct *task;
	int i;

	for (i = 0; i < ARRAY_SIZE(waits); i++) {
		task = kthread_run(caller, (void *)waits[i], "fr_caller");
		msleep(300);
		pr_info("wait %ld: state %x\n", waits[i], READ_ONCE(task->__state));
		msleep(1200);
		kthread_stop(task);
	}
}

static int notified(struct notifier_block *block, unsigned long event, void *data)
{
	pr_info("event %lu\n", event);
	return !strcmp(part, "forbidden") && event == PM_HIBERNATION_PREPARE ? NOTIFY_BAD : NOTIFY_DONE;
}

static struct notifier_block block = { .notifier_call = notified };

static int quiet(void *data)
{
	pr_info("quiet\n");
	return 0;
}

static int __init freezer_init(void)
{
	int (*function)(void *data) = quiet;
	int i;

	if (!strcmp(part, "states")) {
		states();
		return 0;
	}
	pr_info("register_pm_notifier: %d\n", register_pm_notifier(&block));
	if (!strcmp(part, "tasks")) {
		function = tasks_quiet;
		for (i = 0; i < REFUSES; i++)
			start(i);
	} else if (!strcmp(part, "refused")) {
		start(REFUSES);
	} else if (!strcmp(part, "queues")) {
		function = queues_quiet;
	} else if (!strcmp(part, "helpers")) {
		function = helpers_quiet;
		pr_info("in the background: %d\n", call_usermodehelper(slow[0], slow, environment, UMH_WAIT_EXEC));
	}
	wq = alloc_workqueue("fr_queue", WQ_FREEZABLE, 0);
	msleep(100);
	pr_info("hibernate_quiet_exec: %d\n", hibernate_quiet_exec(function, NULL));
	flush_workqueue(wq);
	msleep(200);
	show_all();
	pr_info("were frozen: %d %d %d\n", frozen_times[POLLS], frozen_times[ASKS], frozen_times[NEVER]);
	for (i = 0; i < THREADS; i++)
		stop(i);
	destroy_workqueue(wq);
	pr_info("unregister_pm_notifier: %d\n", unregister_pm_notifier(&block));
	return 0;
}

static void __exit freezer_exit(void)
{
}

module_init(freezer_init);
module_exit(freezer_exit);
