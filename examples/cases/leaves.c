// SPDX-License-Identifier: GPL-2.0-only
/* Leaves one thing behind for the kernel to call when it is unloaded, or with tidy=1 nothing. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/hrtimer.h>
#include <linux/interrupt.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/srcu.h>
#include <linux/timer.h>
#include <linux/umh.h>
#include <linux/workqueue.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("leaves something behind");

static char *what = "";
module_param(what, charp, 0444);
MODULE_PARM_DESC(what, "timer, object_timer, freed_timer, hrtimer, work, delayed_work, tasklet, ...");
static bool tidy;
module_param(tidy, bool, 0444);
MODULE_PARM_DESC(tidy, "leave nothing behind");
static int ret;
module_param(ret, int, 0444);
MODULE_PARM_DESC(ret, "what the init function returns");

#define IS(name) (!strcmp(what, name))
#define LATER (jiffies + 2 * HZ)

struct object {
	struct timer_list timer;
	struct rcu_head rcu;
};
static struct object *object;

static void ring(struct timer_list *unused)
{
	pr_info("rings\n");
}
static DEFINE_TIMER(bell, ring);

static enum hrtimer_restart strike(struct hrtimer *unused)
{
	return HRTIMER_NORESTART;
}
static struct hrtimer clock;

static void labour(struct work_struct *unused)
{
	pr_info("works\n");
}
static DECLARE_WORK(job, labour);
static DECLARE_DELAYED_WORK(later, labour);

static void weave(struct tasklet_struct *unused)
{
	pr_info("weaves\n");
}
static DECLARE_TASKLET(loom, weave);

static void reclaim(struct rcu_head *head)
{
	kfree(container_of(head, struct object, rcu));
}
static struct srcu_struct domain;

static int spin(void *unused)
{
	while (!kthread_should_stop())
		schedule_timeout_interruptible(HZ);
	return 0;
}
static struct task_struct *spinner;

static void toil(struct kthread_work *unused)
{
	pr_info("toils\n");
}
static DEFINE_KTHREAD_WORK(chore, toil);
static struct kthread_delayed_work duty = KTHREAD_DELAYED_WORK_INIT(duty, toil);
static struct kthread_worker *worker;

static int hear(struct notifier_block *unused, unsigned long state, void *mod)
{
	return NOTIFY_OK;
}
static struct notifier_block ear = { .notifier_call = hear };

static void washed(struct subprocess_info *unused)
{
	pr_info("washed\n");
}

static int __init leaves_init(void)
{
	if (IS("timer"))
		mod_timer(&bell, LATER);
	if (IS("object_timer") || IS("freed_timer")) {
		object = kzalloc(sizeof(*object), GFP_KERNEL);
		timer_setup(&object->timer, ring, 0);
		mod_timer(&object->timer, LATER);
	}
	if (IS("hrtimer")) {
		hrtimer_init(&clock, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
		clock.function = strike;
		hrtimer_start(&clock, ktime_set(2, 0), HRTIMER_MODE_REL);
	}
	if (IS("delayed_work"))
		schedule_delayed_work(&later, 2 * HZ);
	if (IS("rcu") || IS("srcu"))
		object = kzalloc(sizeof(*object), GFP_KERNEL);
	if (IS("srcu"))
		init_srcu_struct(&domain);
	if (IS("thread"))
		spinner = kthread_run(spin, NULL, "spinner");
	if (IS("notifier"))
		register_module_notifier(&ear);
	if (IS("kthread_work") || IS("kthread_delayed_work"))
		worker = kthread_create_worker(0, "toiler");
	return ret;
}

/* What the module does as the last thing before it goes. */
static void start(void)
{
	char *argv[] = { "/bin/true", NULL }, *envp[] = { NULL };
	struct subprocess_info *info;

	if (IS("work"))
		schedule_work(&job);
	if (IS("tasklet"))
		tasklet_schedule(&loom);
	if (IS("rcu"))
		call_rcu(&object->rcu, reclaim);
	if (IS("srcu"))
		call_srcu(&domain, &object->rcu, reclaim);
	if (IS("freed_timer") && !tidy)
		kfree(object);
	if (IS("kthread_work"))
		kthread_queue_work(worker, &chore);
	if (IS("kthread_delayed_work"))
		kthread_queue_delayed_work(worker, &duty, 2 * HZ);
	if (IS("helper")) {
		info = call_usermodehelper_setup("/bin/true", argv, envp, GFP_KERNEL, NULL, washed, NULL);
		call_usermodehelper_exec(info, tidy ? UMH_WAIT_PROC : UMH_NO_WAIT);
	}
}

static void clean_up(void)
{
	if (IS("timer"))
		del_timer_sync(&bell);
	if (IS("object_timer") || IS("freed_timer")) {
		del_timer_sync(&object->timer);
		kfree(object);
	}
	if (IS("hrtimer"))
		hrtimer_cancel(&clock);
	if (IS("work"))
		flush_work(&job);
	if (IS("delayed_work"))
		cancel_delayed_work_sync(&later);
	if (IS("tasklet"))
		tasklet_kill(&loom);
	if (IS("rcu"))
		rcu_barrier();
	if (IS("srcu")) {
		srcu_barrier(&domain);
		cleanup_srcu_struct(&domain);
	}
	if (IS("thread"))
		kthread_stop(spinner);
	if (IS("notifier"))
		unregister_module_notifier(&ear);
	if (IS("kthread_delayed_work"))
		kthread_cancel_delayed_work_sync(&duty);
	if (worker)
		kthread_destroy_worker(worker);
}

static void __exit leaves_exit(void)
{
	start();
	if (tidy)
		clean_up();
}

module_init(leaves_init);
module_exit(leaves_exit);
