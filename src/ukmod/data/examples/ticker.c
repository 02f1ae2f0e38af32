// SPDX-License-Identifier: GPL-2.0-only
/* Counts ticks of its own, one every period_ms milliseconds, and exports how many there were. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/workqueue.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("counts ticks");

static unsigned int period_ms = 1000;
module_param(period_ms, uint, 0444);
MODULE_PARM_DESC(period_ms, "milliseconds between two ticks");

unsigned int ticker_count(void);

static unsigned int ticks;
static void tick(struct work_struct *work);
static DECLARE_DELAYED_WORK(next_tick, tick);

static void tick(struct work_struct *work)
{
	ticks++;
	schedule_delayed_work(&next_tick, msecs_to_jiffies(period_ms));
}

unsigned int ticker_count(void)
{
	return ticks;
}
EXPORT_SYMBOL_GPL(ticker_count);

static int __init ticker_init(void)
{
	if (!period_ms) {
		pr_err("period_ms must not be 0\n");
		return -EINVAL;
	}
	schedule_delayed_work(&next_tick, msecs_to_jiffies(period_ms));
	pr_info("a tick every %u ms\n", period_ms);
	return 0;
}

static void __exit ticker_exit(void)
{
	cancel_delayed_work_sync(&next_tick);
	pr_info("%u ticks\n", ticks);
}

module_init(ticker_init);
module_exit(ticker_exit);
