// SPDX-License-Identifier: GPL-2.0-only
/* What task_structs say of threads and workers, and what is reported of work that waits for other work. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/freezer.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/srcu.h>
#include <linux/workqueue.h>
#include <uapi/linux/sched/types.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("flags, policies and priorities of threads and workers");

#define FLAGS (PF_WQ_WORKER | PF_FORKNOEXEC | PF_NOFREEZE | PF_KTHREAD | PF_NO_SETAFFINITY)
#define LAST_SIGNAL 64

static void show(const char *what, struct task_struct *task)
{
	pr_info("%s: flags %x, policy %u, rt_priority %u, static_prio %d, normal_prio %d, prio %d\n", what,
		task->flags & FLAGS, task->policy, task->rt_priority, task->static_prio, task->normal_prio,
		task->prio);
}

static int says(void *data)
{
	pr_info("%s runs\n", current->comm);
	return 0;
}

static int until_stopped(void *data)
{
	while (!kthread_should_stop())
		schedule_timeout_interruptible(HZ);
	return 0;
}

static int takes_signals(void *data)
{
	allow_signal(LAST_SIGNAL);
	while (!signal_pending(current))
		schedule_timeout_interruptible(HZ);
	pr_info("dequeued signal %d\n", kernel_dequeue_signal());
	pr_info("set_freezable() returned %d\n", set_freezable());
	show("freezable", current);
	return until_stopped(data);
}

static void threads(void)
{
	struct task_struct *task, *low;

	task = kthread_create(until_stopped, NULL, "thread");
	show("new", task);
	kthread_bind(task, 0);
	show("bound", task);
	sched_set_fifo(task);
	show("sched_set_fifo", task);
	set_user_nice(task, 5);
	show("set_user_nice(5)", task);
	sched_set_fifo_low(task);
	show("sched_set_fifo_low", task);
	sched_set_normal(task, -3);
	show("sched_set_normal(-3)", task);
	set_user_nice(task, 20);
	show("set_user_nice(20)", task);
	kthread_stop(task);

	low = kthread_create(says, NULL, "normal");
	task = kthread_create(says, NULL, "fifo");
	sched_set_fifo(task);
	wake_up_process(low);
	wake_up_process(task);
	msleep(20);

	task = kthread_run(takes_signals, NULL, "takes_signals");
	msleep(20);
	pr_info("kill_pid() returned %d\n", kill_pid(task_pid(task), LAST_SIGNAL, 1));
	msleep(20);
	kthread_stop(task);
	pr_info("kthread_func() of a process is %s\n", kthread_func(current) ? "something" : "NULL");
}

static struct workqueue_struct *plain, *reclaim;

static void show_worker(struct work_struct *work)
{
	show("worker", current);
}

static void dumps(struct work_struct *work)
{
	dump_stack();
	set_worker_desc("number-%d", 7);
	dump_stack();
}

static void slow(struct work_struct *work)
{
	msleep(20);
}

static DECLARE_WORK(worker_work, show_worker);
static DECLARE_WORK(dumping, dumps);
static DECLARE_WORK(slow_work, slow);

static void flushes(struct work_struct *work)
{
	flush_work(&slow_work);
	flush_work(&slow_work);
}

static DECLARE_WORK(flushing, flushes);
static struct rcu_work after_readers;

static void works(void)
{
	bool queued;

	queue_work(system_wq, &worker_work);
	flush_work(&worker_work);
	queue_work(system_highpri_wq, &worker_work);
	flush_work(&worker_work);
	queue_work(plain, &dumping);
	flush_work(&dumping);

	queue_work(plain, &slow_work);
	queue_work(reclaim, &flushing);
	flush_work(&flushing);
	queued = queue_work_node(0, plain, &worker_work);
	flush_work(&worker_work);
	pr_info("queue_work_node() returned %d\n", queued);

	INIT_RCU_WORK(&after_readers, show_worker);
	queued = queue_rcu_work(plain, &after_readers);
	pr_info("queue_rcu_work() returned %d, then %d\n", queued, queue_rcu_work(plain, &after_readers));
	queued = flush_rcu_work(&after_readers);
	pr_info("flush_rcu_work() returned %d, then %d\n", queued, flush_rcu_work(&after_readers));
}

DEFINE_STATIC_SRCU(domain);

static void srcu_callback(struct rcu_head *head)
{
	pr_info("call_srcu(): in a worker %d, serving softirqs %d, softirqs disabled %d\n",
		!!(current->flags & PF_WQ_WORKER), !!in_serving_softirq(), !!in_softirq());
}

static int __init priorities_init(void)
{
	static struct rcu_head head;

	plain = alloc_workqueue("plain", 0, 0);
	reclaim = alloc_workqueue("reclaim", WQ_MEM_RECLAIM, 0);
	threads();
	works();
	call_srcu(&domain, &head, srcu_callback);
	srcu_barrier(&domain);
	destroy_workqueue(reclaim);
	destroy_workqueue(plain);
	return 0;
}

static void __exit priorities_exit(void)
{
}

module_init(priorities_init);
module_exit(priorities_exit);
