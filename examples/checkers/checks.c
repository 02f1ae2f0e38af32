// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mistakes that the checkers of a debugging kernel find: fault=abba, recursion, atomic_sleep, atomic_schedule,
 * softirq, hardirq, rcu, list_twice, use_after_free or leak; and those that only KASAN's find: slab_bounds,
 * stack_bounds, global_bounds or double_free.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/timer.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("mistakes for the checkers of a debugging kernel");

static char *fault = "";
module_param(fault, charp, 0444);

static DEFINE_MUTEX(first);
static DEFINE_MUTEX(second);
static DEFINE_SPINLOCK(spin);
static LIST_HEAD(list);
static struct list_head entry;
static int __rcu *pointer;

/* Each order by itself is right; together they can deadlock. */
static void abba(void)
{
	mutex_lock(&first);
	mutex_lock(&second);
	mutex_unlock(&second);
	mutex_unlock(&first);

	mutex_lock(&second);
	mutex_lock(&first);
	mutex_unlock(&first);
	mutex_unlock(&second);
}

static void lock_in_turn(struct mutex *lock)
{
	mutex_lock(lock);
}

/* Two mutexes of one class: the checker cannot tell that their order is always the same. */
static void recursion(void)
{
	static struct mutex two[2];
	int i;

	for (i = 0; i < 2; i++)
		mutex_init(&two[i]);
	lock_in_turn(&two[0]);
	lock_in_turn(&two[1]);
	mutex_unlock(&two[1]);
	mutex_unlock(&two[0]);
}

static void atomic_sleep(void)
{
	spin_lock(&spin);
	mutex_lock(&first);
	mutex_unlock(&first);
	spin_unlock(&spin);
}

static void atomic_schedule(void)
{
	spin_lock(&spin);
	schedule();
	spin_unlock(&spin);
}

static void ring(struct timer_list *unused)
{
	spin_lock(&spin);
	spin_unlock(&spin);
}
static DEFINE_TIMER(bell, ring);

/* The timer may interrupt a task that holds the lock, and would then spin for ever. */
static void softirq(void)
{
	mod_timer(&bell, jiffies + 1);
	msleep(100);
	spin_lock(&spin);
	spin_unlock(&spin);
}

static enum hrtimer_restart ring_at_once(struct hrtimer *unused)
{
	pr_info("interrupts are disabled: %d\n", irqs_disabled());
	spin_lock(&spin);
	spin_unlock(&spin);
	return HRTIMER_NORESTART;
}

/* The same of a hard interrupt; softirqs are disabled, which is not enough. */
static void hardirq(void)
{
	static struct hrtimer timer;

	hrtimer_init(&timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	timer.function = ring_at_once;
	spin_lock_bh(&spin);
	spin_unlock_bh(&spin);
	hrtimer_start(&timer, ms_to_ktime(1), HRTIMER_MODE_REL);
	msleep(100);
	hrtimer_cancel(&timer);
}

static void list_twice(void)
{
	list_add(&entry, &list);
	list_add(&entry, &list);
}

static void use_after_free(void)
{
	char *volatile p = kmalloc(100, GFP_KERNEL);

	kfree(p);
	if (p)
		p[8] = 1;
}

static void double_free(void)
{
	void *volatile p = kmalloc(100, GFP_KERNEL);

	kfree(p);
	kfree(p);
}

/* One byte behind an object, in memory that the allocator has given to nobody. */
static void slab_bounds(void)
{
	char *volatile p = kmalloc(100, GFP_KERNEL);

	if (p)
		p[100] = 1;
	kfree(p);
}

static void stack_bounds(void)
{
	volatile char bytes[10];
	volatile char *volatile p = bytes;

	p[10] = 1;
}

static void global_bounds(void)
{
	static char bytes[10];
	char *volatile p = bytes;

	p[10] = 1;
}

static void leak(void)
{
	void *volatile p = kmalloc(100, GFP_KERNEL);

	p = NULL;
}

static int __init checks_init(void)
{
	pr_info("%s\n", fault);
	if (!strcmp(fault, "abba"))
		abba();
	if (!strcmp(fault, "recursion"))
		recursion();
	if (!strcmp(fault, "atomic_sleep"))
		atomic_sleep();
	if (!strcmp(fault, "atomic_schedule"))
		atomic_schedule();
	if (!strcmp(fault, "softirq"))
		softirq();
	if (!strcmp(fault, "hardirq"))
		hardirq();
	if (!strcmp(fault, "rcu"))
		pr_info("%p\n", rcu_dereference(pointer));
	if (!strcmp(fault, "list_twice"))
		list_twice();
	if (!strcmp(fault, "use_after_free"))
		use_after_free();
	if (!strcmp(fault, "double_free"))
		double_free();
	if (!strcmp(fault, "slab_bounds"))
		slab_bounds();
	if (!strcmp(fault, "stack_bounds"))
		stack_bounds();
	if (!strcmp(fault, "global_bounds"))
		global_bounds();
	if (!strcmp(fault, "leak"))
		leak();
	pr_info("done\n");
	return 0;
}

static void __exit checks_exit(void)
{
}

module_init(checks_init);
module_exit(checks_exit);
