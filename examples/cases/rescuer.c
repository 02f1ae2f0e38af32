// SPDX-License-Identifier: GPL-2.0-only
/* The thread that each workqueue with WQ_MEM_RECLAIM has, so that its work advances without memory for a worker. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/workqueue.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("shows the rescuers of workqueues");

#define FLAGS (PF_KTHREAD | PF_WQ_WORKER | PF_NOFREEZE | PF_FORKNOEXEC | PF_NO_SETAFFINITY)

static void work(struct work_struct *item)
{
	pr_info("the work runs in a kworker: %d\n", !strncmp(current->comm, "kworker/", 8));
}

static DECLARE_WORK(item, work);

static void show(const char *when, const char *comm)
{
	struct task_struct *task;
	int found = 0;

	rcu_read_lock();
	for_each_process(task) {
		if (strcmp(task->comm, comm))
			continue;
		found++;
		pr_info("%s: a thread of pid %s, flags %x, state %x, nice %d, policy %u\n", when,
			task_pid_nr(rcu_dereference(task->real_parent)) == 2 ? "2" : "another",
			task->flags & FLAGS, READ_ONCE(task->__state), task_nice(task), task->policy);
	}
	rcu_read_unlock();
	pr_info("%s: %d named %s\n", when, found, comm);
}

static void try(const char *name, const char *comm, struct workqueue_struct *wq)
{
	if (!wq)
		return;
	msleep(20);
	show(name, comm);
	queue_work(wq, &item);
	flush_workqueue(wq);
	destroy_workqueue(wq);
	msleep(20); /* the thread ends after it has answered kthread_stop() */
	show("destroyed", comm);
}

static int __init rescuer_init(void)
{
	try("plain", "r_plain", alloc_workqueue("r_plain", 0, 0));
	try("reclaim", "r_reclaim", alloc_workqueue("r_reclaim", WQ_MEM_RECLAIM, 0));
	try("high priority", "r_high", alloc_workqueue("r_high", WQ_MEM_RECLAIM | WQ_HIGHPRI, 1));
	try("unbound", "r_unbound", alloc_workqueue("r_unbound", WQ_MEM_RECLAIM | WQ_UNBOUND, 0));
	try("ordered", "r_ordered", alloc_ordered_workqueue("r_ordered", WQ_MEM_RECLAIM));
	try("single thread", "r_single", create_singlethread_workqueue("r_single"));
	try("formatted", "r_7_and_more_th", alloc_workqueue("r_%d_and_more_than_fit", WQ_MEM_RECLAIM, 0, 7));
	return 0;
}

static void __exit rescuer_exit(void)
{
}

module_init(rescuer_init);
module_exit(rescuer_exit);
