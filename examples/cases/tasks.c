// SPDX-License-Identifier: GPL-2.0-only
/* Who runs the code of a module, on whose behalf, and what it may do. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cred.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/umh.h>
#include <linux/workqueue.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("prints tasks, their parents, flags and capabilities");

static char *part = "threads";
module_param(part, charp, 0);
static int wait = UMH_WAIT_PROC;
module_param(wait, int, 0);

static char *argv[] = { "/sbin/helper", NULL };
static char *envp[] = { "PATH=/sbin:/bin", NULL };

#define FLAGS (PF_KTHREAD | PF_WQ_WORKER | PF_NOFREEZE | PF_FORKNOEXEC | PF_NO_SETAFFINITY)

static void who(const char *where)
{
	struct task_struct *parent;

	rcu_read_lock();
	parent = rcu_dereference(current->real_parent);
	pr_info("%s: comm %s, parent %s, its pid is %s\n", where, current->comm, parent->comm,
		task_pid_nr(parent) == 2 ? "2" : "another");
	rcu_read_unlock();
	pr_info("%s: flags %x, exit signal %d, nice %d, mm %s, alone in its group %d\n", where,
		current->flags & FLAGS, current->exit_signal, task_nice(current),
		current->mm ? "its own" : "none", thread_group_empty(current));
}

static void may(const char *whose, const struct cred *cred)
{
	pr_info("%s: uid %u, effective %08x%08x, permitted %08x%08x, inheritable %08x%08x\n", whose,
		__kuid_val(cred->uid),
		cred->cap_effective.cap[1], cred->cap_effective.cap[0],
		cred->cap_permitted.cap[1], cred->cap_permitted.cap[0],
		cred->cap_inheritable.cap[1], cred->cap_inheritable.cap[0]);
	pr_info("%s: bounding %08x%08x, ambient %08x%08x, securebits %u\n", whose,
		cred->cap_bset.cap[1], cred->cap_bset.cap[0],
		cred->cap_ambient.cap[1], cred->cap_ambient.cap[0], cred->securebits);
}

static int thread(void *data)
{
	who(data);
	may(data, current_cred());
	pr_info("%s: capable() %d\n", (char *)data, capable(CAP_SYS_MODULE));
	return 0;
}

static void work(struct work_struct *item)
{
	who("worker");
	may("worker", current_cred());
}

static DECLARE_WORK(item, work);

static int before(struct subprocess_info *info, struct cred *new)
{
	who("helper");
	may("helper", new);
	return 0;
}

static void threads(void)
{
	struct task_struct *task = kthread_create(thread, "thread", "a thread");

	if (IS_ERR(task))
		return;
	get_task_struct(task);
	wake_up_process(task);
	kthread_stop(task);
	put_task_struct(task);
	queue_work(system_wq, &item);
	flush_work(&item);
	queue_work(system_unbound_wq, &item);
	flush_work(&item);
}

static void helper(void)
{
	struct subprocess_info *info;

	info = call_usermodehelper_setup(argv[0], argv, envp, GFP_KERNEL, before, NULL, NULL);
	if (info)
		pr_info("the helper: %d\n", call_usermodehelper_exec(info, wait));
}

static int sleeper(void *data)
{
	while (!kthread_should_stop())
		schedule_timeout_interruptible(HZ);
	return 0;
}

/* Of all processes: those that every machine has, and the module's own. */
static void walk(void)
{
	struct task_struct *thread = kthread_run(sleeper, NULL, "sleeper"), *p, *t;
	int processes = 0, mine = 0, threads = 0, sleepers = 0, children = 0;

	if (IS_ERR(thread))
		return;
	rcu_read_lock();
	for_each_process(p) {
		processes++;
		mine += p == current;
		sleepers += p == thread;
		if (task_pid_nr(p) <= 2)
			pr_info("pid %d: comm %s, parent's pid %d, kernel thread %d\n", task_pid_nr(p),
				p->comm, task_pid_nr(rcu_dereference(p->real_parent)),
				!!(p->flags & PF_KTHREAD));
	}
	for_each_process_thread(p, t)
		threads += t == current;
	list_for_each_entry_rcu(p, &rcu_dereference(thread->real_parent)->children, sibling)
		children += p == thread;
	pr_info("init_task: pid %d, comm %s\n", task_pid_nr(&init_task), init_task.comm);
	pr_info("more than three processes: %d; current once: %d, %d; the sleeper once: %d, as a child: %d\n",
		processes > 3, mine == 1, threads == 1, sleepers == 1, children == 1);
	rcu_read_unlock();
	kthread_stop(thread);
}

static int __init tasks_init(void)
{
	may("insmod", current_cred());
	pr_info("insmod: capable() %d\n", capable(CAP_SYS_MODULE));
	if (!strcmp(part, "threads"))
		threads();
	else if (!strcmp(part, "helper"))
		helper();
	else
		walk();
	return 0;
}

static void __exit tasks_exit(void)
{
}

module_init(tasks_init);
module_exit(tasks_exit);
