// SPDX-License-Identifier: GPL-2.0-only
/* Completions, wait queues, mutexes, semaphores: who wakes, in which order, with which return value. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/semaphore.h>
#include <linux/wait.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("waiting");

static char *part = "completion";
module_param(part, charp, 0);

static DECLARE_COMPLETION(done);
static DECLARE_COMPLETION(finished);
static DECLARE_WAIT_QUEUE_HEAD(queue);
static DEFINE_MUTEX(mutex);
static struct semaphore sem;
static int condition;

static const char *how(long left, long timeout)
{
	return left < 0 ? "error" : left == 0 ? "timed out" : left >= timeout ? "at once" : "in time";
}

static int completer(void *ms)
{
	msleep((long)ms);
	pr_info("%s: completes\n", current->comm);
	complete(&done);
	return 0;
}

static int complete_waiter(void *unused)
{
	wait_for_completion(&done);
	pr_info("%s: done\n", current->comm);
	return 0;
}

static void completion(void)
{
	long timeout = msecs_to_jiffies(300);
	int i;

	pr_info("wait 300 ms, none comes: %s\n", how(wait_for_completion_timeout(&done, timeout), timeout));
	kthread_run(completer, (void *)100, "completer");
	pr_info("wait 300 ms, one comes: %s\n", how(wait_for_completion_timeout(&done, timeout), timeout));
	complete(&done);
	complete(&done);
	pr_info("completed twice before: %s\n", how(wait_for_completion_timeout(&done, timeout), timeout));
	pr_info("try: %d\n", try_wait_for_completion(&done));
	pr_info("try: %d\n", try_wait_for_completion(&done));
	pr_info("completion_done: %d\n", completion_done(&done));

	for (i = 0; i < 3; i++)
		kthread_run(complete_waiter, NULL, "waiter%d", i);
	msleep(50);
	pr_info("complete\n");
	complete(&done);
	msleep(50);
	pr_info("complete_all\n");
	complete_all(&done);
	msleep(50);
	pr_info("completion_done: %d\n", completion_done(&done));
	reinit_completion(&done);
	pr_info("after reinit: %d\n", completion_done(&done));
}

static int event_waiter(void *unused)
{
	wait_event(queue, condition);
	pr_info("%s: woken, condition %d\n", current->comm, condition);
	return 0;
}

static int exclusive_waiter(void *unused)
{
	int ret = wait_event_interruptible_exclusive(queue, condition);

	pr_info("%s: returned %d\n", current->comm, ret);
	return 0;
}

static int interrupted(void *unused)
{
	int ret;

	allow_signal(SIGUSR1);
	ret = wait_event_interruptible(queue, 0);
	pr_info("%s: wait_event_interruptible() returned %d\n", current->comm, ret);
	pr_info("%s: with the signal pending it returns %d\n", current->comm, wait_event_interruptible(queue, 0));
	flush_signals(current);
	ret = wait_event_interruptible_timeout(queue, 0, msecs_to_jiffies(100));
	pr_info("%s: wait_event_interruptible_timeout() returned %d\n", current->comm, ret);
	pr_info("%s: msleep_interruptible() left %s\n", current->comm, msleep_interruptible(100) ? "some" : "nothing");
	complete(&finished);
	return 0;
}

static void events(void)
{
	long timeout = msecs_to_jiffies(100);
	struct task_struct *task;
	int i;

	pr_info("wait_event_timeout, false: %s\n", how(wait_event_timeout(queue, condition, timeout), timeout));
	for (i = 0; i < 2; i++)
		kthread_run(event_waiter, NULL, "event%d", i);
	msleep(50);
	wake_up(&queue);
	msleep(50);
	pr_info("woken in vain\n");
	condition = 1;
	wake_up(&queue);
	msleep(50);
	pr_info("wait_event_timeout, true: %s\n", how(wait_event_timeout(queue, condition, timeout), timeout));

	condition = 0;
	for (i = 0; i < 3; i++)
		kthread_run(exclusive_waiter, NULL, "exclusive%d", i);
	msleep(50);
	condition = 1;
	pr_info("wake_up\n");
	wake_up(&queue);
	msleep(50);
	pr_info("wake_up_nr 2\n");
	wake_up_nr(&queue, 2);
	msleep(50);

	task = kthread_run(interrupted, NULL, "interrupted");
	msleep(50);
	send_sig(SIGUSR1, task, 1);
	wait_for_completion(&finished);
}

static int locker(void *unused)
{
	mutex_lock(&mutex);
	pr_info("%s: has the mutex\n", current->comm);
	mutex_unlock(&mutex);
	return 0;
}

static int downer(void *unused)
{
	down(&sem);
	pr_info("%s: down\n", current->comm);
	return 0;
}

static void locks(void)
{
	int i;

	pr_info("mutex_trylock: %d\n", mutex_trylock(&mutex));
	pr_info("mutex_trylock: %d, locked %d\n", mutex_trylock(&mutex), mutex_is_locked(&mutex));
	for (i = 0; i < 3; i++)
		kthread_run(locker, NULL, "locker%d", i);
	msleep(50);
	pr_info("unlock\n");
	mutex_unlock(&mutex);
	msleep(50);
	pr_info("mutex_lock_interruptible: %d\n", mutex_lock_interruptible(&mutex));
	mutex_unlock(&mutex);

	sema_init(&sem, 2);
	pr_info("down_trylock: %d\n", down_trylock(&sem));
	pr_info("down_interruptible: %d\n", down_interruptible(&sem));
	pr_info("down_trylock: %d\n", down_trylock(&sem));
	pr_info("down_timeout 100 ms: %d\n", down_timeout(&sem, msecs_to_jiffies(100)));
	for (i = 0; i < 2; i++)
		kthread_run(downer, NULL, "downer%d", i);
	msleep(50);
	pr_info("up\n");
	up(&sem);
	msleep(50);
	pr_info("up\n");
	up(&sem);
	msleep(50);
}

static int __init waits_init(void)
{
	if (!strcmp(part, "completion"))
		completion();
	else if (!strcmp(part, "events"))
		events();
	else if (!strcmp(part, "locks"))
		locks();
	return 0;
}

static void __exit waits_exit(void)
{
}

module_init(waits_init);
module_exit(waits_exit);
