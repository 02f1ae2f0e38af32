// SPDX-License-Identifier: GPL-2.0-only
/* Rings once ticker has counted to after. Uses a symbol of ticker's, so it depends on ticker. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/module.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("rings after some ticks");

static unsigned int after = 3;
module_param(after, uint, 0444);
MODULE_PARM_DESC(after, "ticks to wait for");

unsigned int ticker_count(void);

static struct task_struct *waiter;

static int wait_for_ticks(void *unused)
{
	bool rung = false;

	while (!kthread_should_stop()) {
		if (!rung && ticker_count() >= after) {
			pr_info("%u ticks\n", ticker_count());
			rung = true;
		}
		msleep_interruptible(100);
	}
	return 0;
}

static int __init bell_init(void)
{
	waiter = kthread_run(wait_for_ticks, NULL, "bell");
	return PTR_ERR_OR_ZERO(waiter);
}

static void __exit bell_exit(void)
{
	kthread_stop(waiter);
}

module_init(bell_init);
module_exit(bell_exit);
