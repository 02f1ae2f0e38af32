// SPDX-License-Identifier: GPL-2.0-only
/* Timers: order of expiry, modifying, deleting; sleeping in its several ways. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/timer.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("timers");

struct named_timer {
	struct timer_list timer;
	const char *name;
	int again;
};

static void fired(struct timer_list *timer)
{
	struct named_timer *named = from_timer(named, timer, timer);

	pr_info("%s fires, in_softirq %d\n", named->name, !!in_softirq());
	if (named->again-- > 0)
		mod_timer(timer, jiffies + msecs_to_jiffies(100));
}

static struct named_timer first = { .name = "first" }, second = { .name = "second" };
static struct named_timer periodic = { .name = "periodic", .again = 2 };

static struct hrtimer high;
static int high_again = 2;

static enum hrtimer_restart high_fired(struct hrtimer *timer)
{
	pr_info("hrtimer fires\n");
	if (high_again-- <= 0)
		return HRTIMER_NORESTART;
	hrtimer_forward_now(timer, ms_to_ktime(20));
	return HRTIMER_RESTART;
}

static void slept(const char *how, unsigned long from, unsigned int at_least, unsigned int at_most)
{
	unsigned int ms = jiffies_to_msecs(jiffies - from);

	pr_info("%s: %s\n", how, ms < at_least ? "too short" : ms > at_most ? "too long" : "right");
}

static int __init timers_init(void)
{
	unsigned long from;

	timer_setup(&first.timer, fired, 0);
	timer_setup(&second.timer, fired, 0);
	timer_setup(&periodic.timer, fired, 0);
	pr_info("mod_timer: %d\n", mod_timer(&second.timer, jiffies + msecs_to_jiffies(200)));
	pr_info("mod_timer: %d\n", mod_timer(&first.timer, jiffies + msecs_to_jiffies(100)));
	pr_info("mod_timer of a pending one: %d\n", mod_timer(&second.timer, jiffies + msecs_to_jiffies(300)));
	pr_info("timer_pending: %d\n", timer_pending(&first.timer));
	msleep(500);
	pr_info("timer_pending: %d\n", timer_pending(&first.timer));
	mod_timer(&first.timer, jiffies + msecs_to_jiffies(100));
	pr_info("del_timer_sync of a pending one: %d\n", del_timer_sync(&first.timer));
	pr_info("del_timer of an idle one: %d\n", del_timer(&first.timer));
	msleep(200);
	mod_timer(&periodic.timer, jiffies);
	msleep(500);

	hrtimer_init(&high, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	high.function = high_fired;
	hrtimer_start(&high, ms_to_ktime(20), HRTIMER_MODE_REL);
	msleep(100);
	pr_info("hrtimer_cancel of an idle one: %d\n", hrtimer_cancel(&high));

	from = jiffies;
	msleep(100);
	slept("msleep(100)", from, 100, 150);
	from = jiffies;
	ssleep(1);
	slept("ssleep(1)", from, 1000, 1100);
	from = jiffies;
	usleep_range(20000, 21000);
	slept("usleep_range(20000, 21000)", from, 16, 32);
	from = jiffies;
	mdelay(20);
	slept("mdelay(20)", from, 16, 32);
	from = jiffies;
	pr_info("schedule_timeout() left %ld\n", schedule_timeout_uninterruptible(msecs_to_jiffies(100)));
	slept("schedule_timeout(100 ms)", from, 100, 150);
	pr_info("HZ=%d msecs_to_jiffies(1000)=%lu jiffies_to_msecs(1)=%u\n", HZ, msecs_to_jiffies(1000),
		jiffies_to_msecs(1));
	return 0;
}

static void __exit timers_exit(void)
{
}

module_init(timers_init);
module_exit(timers_exit);
