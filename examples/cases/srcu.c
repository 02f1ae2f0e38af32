// SPDX-License-Identifier: GPL-2.0-only
/* A domain of SRCU that no function initialises: the module loader does, each time the module is loaded. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/srcu.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("readers, grace periods, callbacks and a barrier of a static domain");

DEFINE_STATIC_SRCU(domain);
static struct rcu_head head;

static void show_index(const char *when)
{
	int index = srcu_read_lock(&domain);

	srcu_read_unlock(&domain, index);
	pr_info("a reader %s has index %d\n", when, index);
}

static int reader(void *unused)
{
	int index = srcu_read_lock(&domain);

	pr_info("the reader sleeps\n");
	msleep(200);
	pr_info("the reader leaves\n");
	srcu_read_unlock(&domain, index);
	return 0;
}

static void called(struct rcu_head *unused)
{
	pr_info("the callback runs\n");
}

static int __init domain_init(void)
{
	struct task_struct *task;

	show_index("at first");
	task = kthread_run(reader, NULL, "reader");
	if (IS_ERR(task))
		return PTR_ERR(task);
	msleep(50);
	synchronize_srcu(&domain);
	show_index("after a grace period");
	synchronize_srcu_expedited(&domain);
	show_index("after another");
	call_srcu(&domain, &head, called);
	srcu_barrier(&domain);
	show_index("after the barrier");
	return 0;
}

static void __exit domain_exit(void)
{
	show_index("at the end");
}

module_init(domain_init);
module_exit(domain_exit);
