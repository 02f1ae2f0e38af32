// SPDX-License-Identifier: GPL-2.0-only
/* In which context the kernel calls a module: tasklets, timers, hrtimers, irq_work, RCU. One part with part=. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/interrupt.h>
#include <linux/irq_work.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/timer.h>
#include <linux/workqueue.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("contexts that may not sleep, and those that may");

static char *part = "tasklets";
module_param(part, charp, 0);

static void show(const char *what)
{
	pr_info("%s: in %.9s, kernel thread %d, preempt_count %x, task %d, hardirq %d, softirq %d\n", what,
		current->comm, !!(current->flags & PF_KTHREAD), preempt_count(), !!in_task(),
		!!in_hardirq(), !!in_serving_softirq());
}

static int runs;

static void tasklet(struct tasklet_struct *itself)
{
	show("tasklet");
	if (++runs < 3)
		tasklet_schedule(itself);
}

static void old_tasklet(unsigned long data)
{
	pr_info("an old tasklet is passed %lu\n", data);
}

static DECLARE_TASKLET(fresh, tasklet);
static DECLARE_TASKLET_OLD(old, old_tasklet);

static void tasklets(void)
{
	tasklet_schedule(&fresh);
	tasklet_schedule(&fresh);
	tasklet_schedule(&old);
	pr_info("scheduled\n");
	msleep(20);
	pr_info("%d runs\n", runs);

	runs = 0;
	local_bh_disable();
	tasklet_schedule(&fresh);
	show("softirqs disabled");
	local_bh_enable();
	pr_info("%d runs\n", runs);

	tasklet_disable(&old);
	tasklet_schedule(&old);
	msleep(20);
	pr_info("enabled now\n");
	tasklet_enable(&old);
	msleep(20);
	tasklet_kill(&fresh);
	tasklet_kill(&old);
}

static struct timer_list timer;
static struct hrtimer precise;
static struct rcu_head head;

static void timer_fires(struct timer_list *unused)
{
	show("timer");
}

static enum hrtimer_restart precise_fires(struct hrtimer *itself)
{
	show("hrtimer");
	pr_info("its callback runs %d, active %d, queued %d\n", hrtimer_callback_running(itself),
		hrtimer_active(itself), hrtimer_is_queued(itself));
	return HRTIMER_NORESTART;
}

static void after_readers(struct rcu_head *unused)
{
	show("call_rcu()");
}

static void works(struct work_struct *unused)
{
	show("work");
}

static DECLARE_WORK(work, works);

static int thread(void *unused)
{
	show("thread");
	return 0;
}

static void timers(void)
{
	show("init");
	timer_setup(&timer, timer_fires, 0);
	mod_timer(&timer, jiffies + 1);
	msleep(20);
	hrtimer_init(&precise, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	precise.function = precise_fires;
	hrtimer_start(&precise, ms_to_ktime(1), HRTIMER_MODE_REL);
	msleep(20);
	pr_info("started as a soft timer, which it is not\n");
	hrtimer_start(&precise, ms_to_ktime(1), HRTIMER_MODE_REL_SOFT);
	msleep(20);
	hrtimer_init(&precise, CLOCK_MONOTONIC, HRTIMER_MODE_REL_SOFT);
	precise.function = precise_fires;
	hrtimer_start(&precise, ms_to_ktime(1), HRTIMER_MODE_REL_SOFT);
	msleep(20);
	call_rcu(&head, after_readers);
	rcu_barrier();
	schedule_work(&work);
	flush_work(&work);
	kthread_run(thread, NULL, "thread");
	msleep(20);
}

static void interrupted(struct irq_work *unused)
{
	show("irq_work");
}

static void irq_works(void)
{
	static struct irq_work plain = IRQ_WORK_INIT(interrupted);
	static struct irq_work lazy = IRQ_WORK_INIT_LAZY(interrupted);
	static struct irq_work hard = IRQ_WORK_INIT_HARD(interrupted);
	bool queued;

	queued = irq_work_queue(&plain);
	pr_info("queued %d\n", queued);
	queued = irq_work_queue(&lazy);
	pr_info("queued %d, for the tick\n", queued);
	irq_work_sync(&lazy);
	queued = irq_work_queue(&hard);
	pr_info("queued %d\n", queued);
}

static void fails(struct tasklet_struct *unused)
{
	*(volatile int *)NULL = 1;
}

static DECLARE_TASKLET(failing, fails);
static DEFINE_SPINLOCK(lock);

static int __init atomic_init(void)
{
	if (!strcmp(part, "tasklets"))
		tasklets();
	else if (!strcmp(part, "timers"))
		timers();
	else if (!strcmp(part, "irq_works"))
		irq_works();
	else if (!strcmp(part, "oops_in_tasklet"))
		tasklet_schedule(&failing);
	else if (!strcmp(part, "oops_with_softirqs_off")) {
		spin_lock_bh(&lock);
		fails(NULL);
	}
	msleep(20);
	return 0;
}

static void __exit atomic_exit(void)
{
}

module_init(atomic_init);
module_exit(atomic_exit);
