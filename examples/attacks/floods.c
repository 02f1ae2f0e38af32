// SPDX-License-Identifier: GPL-2.0-only
/* Too much of everything, for ever: memory, tasks, works, timers, requests, helpers, sleep. */
#include "attack.h"

#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/interrupt.h>
#include <linux/kfifo.h>
#include <linux/kmod.h>
#include <linux/kthread.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>
#include <linux/srcu.h>
#include <linux/umh.h>
#include <linux/workqueue.h>

static noinline int alive(const char *what)
{
	pr_info("%s\n", what);
	return 0;
}

static char *argv[] = { "/sbin/modprobe", "nothing", NULL }, *no_argv[] = { NULL };
static char *envp[] = { "HOME=/", "PATH=/sbin:/bin", NULL };

static struct kmem_cache *a_cache(void)
{
	static struct kmem_cache *cache;

	return cache ? cache : (cache = kmem_cache_create("flooded", 1000, 0, 0, NULL));
}

static void *grown(void)
{
	static size_t size = 1;
	static void *memory;
	void *larger = krealloc(memory, size += 4096, GFP_KERNEL);

	return larger ? (memory = larger) : NULL;
}

/* Until it fails, or for ever. */
#define UNTIL(name, call, ends) ATTACK(name, ends) { while (call) ; return alive(#name); }
#define EVER(name, call, ends) ATTACK(name, ends) { for (;;) call; return alive(#name); }

UNTIL(memory_small, kmalloc(8, GFP_KERNEL), "any")
UNTIL(memory_of_pages, kmalloc(4096, GFP_KERNEL), "any")
UNTIL(memory_large, kmalloc(1 << 22, GFP_KERNEL), "any")
UNTIL(memory_by_pages, __get_free_page(GFP_KERNEL), "any")
UNTIL(memory_virtual, vmalloc(4096), "any")
UNTIL(memory_virtual_large, vmalloc(1 << 26), "any")
UNTIL(memory_of_a_cpu, __alloc_percpu(4096, 8), "any")
UNTIL(memory_without_fail, kmalloc(1 << 20, GFP_KERNEL | __GFP_NOFAIL), "any")
UNTIL(memory_in_strings, kasprintf(GFP_KERNEL, "%4000d", 1), "any")
UNTIL(memory_of_nothing, ZERO_OR_NULL_PTR(kmalloc(0, GFP_KERNEL)), "lockup")
UNTIL(memory_of_either_kind, kvmalloc(1 << 14, GFP_KERNEL), "any")
UNTIL(memory_exact, alloc_pages_exact(12288, GFP_KERNEL), "any")
UNTIL(memory_of_a_cache, kmem_cache_alloc(a_cache(), GFP_KERNEL), "any")
UNTIL(memory_zeroed, vzalloc(1 << 16), "any")
UNTIL(memory_atomic, kmalloc(128, GFP_ATOMIC), "any")
UNTIL(memory_of_user_s, vmalloc_user(1 << 16), "any")
UNTIL(memory_of_bits, bitmap_zalloc(1 << 16, GFP_KERNEL), "any")
UNTIL(memory_of_strings, kstrdup("a string that nobody frees", GFP_KERNEL), "any")
UNTIL(memory_of_queues, !kfifo_alloc((struct kfifo *)kmalloc(sizeof(struct kfifo), GFP_KERNEL), 4096, GFP_KERNEL), "any")
UNTIL(memory_of_srcu, !init_srcu_struct((void *)kmalloc(sizeof(struct srcu_struct), GFP_KERNEL)), "any")
UNTIL(memory_that_grows, grown(), "any")
UNTIL(caches, kmem_cache_create("x", 64, 0, 0, NULL), "any")
UNTIL(workqueues, alloc_workqueue("x", WQ_MEM_RECLAIM, 0), "any")
UNTIL(threads_not_woken, !IS_ERR(kthread_create((void *)alive, "x", "x")), "any")
UNTIL(workers, !IS_ERR(kthread_create_worker(0, "x")), "any")
UNTIL(kept_helpers, call_usermodehelper_setup("/x", argv, envp, GFP_KERNEL, NULL, NULL, NULL), "any")

EVER(requests, request_module("m%d", get_random_u32()), "lockup")
EVER(requests_of_the_same, request_module("nothing"), "lockup")
EVER(requests_not_waited_for, request_module_nowait("nothing"), "lockup")
EVER(helpers, call_usermodehelper("/sbin/modprobe", argv, envp, UMH_WAIT_PROC), "lockup")
EVER(helpers_not_waited_for, call_usermodehelper("/sbin/modprobe", argv, envp, UMH_NO_WAIT), "lockup")
EVER(helpers_without_arguments, call_usermodehelper("/bin/sh", no_argv, NULL, UMH_NO_WAIT), "lockup")
EVER(delays, udelay(1000), "lockup")
EVER(delays_of_nothing, udelay(0), "lockup")
EVER(sleeps, msleep(0), "any")
EVER(sleeps_short, usleep_range(0, 0), "any")
EVER(schedules, schedule(), "any")
EVER(yields, yield(), "any")
EVER(conditional_schedules, cond_resched(), "any")
EVER(sleeps_long, msleep(~0U), "any")
EVER(flushes, flush_scheduled_work(), "any")
EVER(grace_periods, synchronize_rcu(), "any")
EVER(allocations_freed, kfree(kmalloc(64, GFP_KERNEL)), "lockup")
EVER(allocations_freed_by_rcu, ({ struct { struct rcu_head r; } *p = kmalloc(64, GFP_KERNEL); if (p) kfree_rcu(p, r); }), "any")
EVER(lines, pr_info("a line of the log, which has no end\n"), "lockup")
EVER(lines_unfinished, pr_cont("a part of a line that has no end"), "lockup")
EVER(requests_of_long_names, request_module("%054d", 1), "lockup")
EVER(modules_taken, __module_get(THIS_MODULE), "lockup")
EVER(interrupts_on_and_off, asm volatile("cli; sti"), "lockup")
EVER(preemption_off, preempt_disable(), "lockup")
EVER(preemption_on, preempt_enable(), "any")
EVER(copies, memmove((void *)PAGE_OFFSET + (1 << 25), (void *)PAGE_OFFSET + (1 << 24), 1 << 24), "any")

static DEFINE_SPINLOCK(lock);
static DEFINE_MUTEX(mutex);

ATTACK(spin_lock_twice, "any")
{
	spin_lock(&lock);
	spin_lock(&lock);
	return 0;
}

ATTACK(mutex_twice, "any")
{
	mutex_lock(&mutex);
	mutex_lock(&mutex);
	return 0;
}

ATTACK(sleep_with_interrupts_off, "any")
{
	asm volatile("cli");
	msleep(1000);
	return alive("slept");
}

ATTACK(sleep_in_an_atomic_section, "any")
{
	preempt_disable();
	msleep(1000);
	synchronize_rcu();
	return alive("slept");
}

ATTACK(wait_that_nobody_ends, "any")
{
	static DECLARE_COMPLETION(never);

	wait_for_completion(&never);
	return 0;
}

static int spins(void *unused)
{
	while (!kthread_should_stop())
		cpu_relax();
	return 0;
}

static int breeds(void *unused)
{
	for (;;)
		if (IS_ERR(kthread_run(breeds, NULL, "x")))
			msleep(1);
	return 0;
}

static int prints(void *unused)
{
	for (;;)
		pr_info("x\n");
	return 0;
}

#define THREADS(name, function, count, ends) \
	ATTACK(name, ends) { int i; for (i = 0; i < count; i++) kthread_run(function, NULL, "x"); return alive(#name); }

THREADS(thread_that_spins, spins, 1, "any")
THREADS(threads_that_spin, spins, 1000, "any")
THREADS(threads_that_breed, breeds, 1, "any")
THREADS(threads_that_print, prints, 100, "any")

static void again(struct work_struct *work)
{
	schedule_work(work);
}

static void splits(struct work_struct *unused)
{
	int i;

	for (i = 0; i < 2; i++) {
		struct work_struct *work = kmalloc(sizeof(*work), GFP_KERNEL);

		if (!work)
			return;
		INIT_WORK(work, splits);
		schedule_work(work);
	}
}

static void spins_in_work(struct work_struct *unused)
{
	for (;;)
		cpu_relax();
}

static struct work_struct work;

ATTACK(work_that_queues_itself, "any")
{
	INIT_WORK(&work, again);
	schedule_work(&work);
	return 0;
}

ATTACK(work_that_splits, "any")
{
	INIT_WORK(&work, splits);
	schedule_work(&work);
	return 0;
}

ATTACK(work_that_spins, "any")
{
	INIT_WORK(&work, spins_in_work);
	schedule_work(&work);
	return 0;
}

ATTACK(work_that_waits_for_itself, "any")
{
	INIT_WORK(&work, (void *)flush_work);
	schedule_work(&work);
	flush_work(&work);
	return 0;
}

ATTACK(works, "any")
{
	struct work_struct *many = vmalloc(100000 * sizeof(*many));
	int i;

	for (i = 0; many && i < 100000; i++) {
		INIT_WORK(&many[i], (void *)alive);
		schedule_work(&many[i]);
	}
	return 0;
}

static struct hrtimer high;
static struct timer_list timer;
static struct tasklet_struct tasklet;

static enum hrtimer_restart restarts(struct hrtimer *unused)
{
	return HRTIMER_RESTART;
}

static enum hrtimer_restart forwards(struct hrtimer *timer)
{
	hrtimer_forward_now(timer, 1);
	return HRTIMER_RESTART;
}

static enum hrtimer_restart spins_in_interrupt(struct hrtimer *unused)
{
	for (;;)
		cpu_relax();
}

#define HRTIMER(name, callback, ends)								\
	ATTACK(name, ends)									\
	{											\
		hrtimer_init(&high, CLOCK_MONOTONIC, HRTIMER_MODE_REL);				\
		high.function = callback;							\
		hrtimer_start(&high, 0, HRTIMER_MODE_REL);					\
		return 0;									\
	}

HRTIMER(hrtimer_of_no_period, restarts, "any")
HRTIMER(hrtimer_of_a_nanosecond, forwards, "any")
HRTIMER(hrtimer_that_spins, spins_in_interrupt, "any")
HRTIMER(hrtimer_without_a_function, NULL, "any")
HRTIMER(hrtimer_that_frees_itself, (void *)kfree, "any")

static void timer_again(struct timer_list *timer)
{
	mod_timer(timer, jiffies);
}

static void timer_sleeps(struct timer_list *timer)
{
	msleep(1000);
}

static void timer_exits(struct timer_list *timer)
{
	kthread_complete_and_exit(NULL, 0);
}

#define TIMER(name, callback, ends) \
	ATTACK(name, ends) { timer_setup(&timer, callback, 0); mod_timer(&timer, jiffies); return 0; }

TIMER(timer_of_now, timer_again, "any")
TIMER(timer_that_sleeps, timer_sleeps, "any")
TIMER(timer_that_exits, timer_exits, "any")
TIMER(timer_that_oopses, NULL, "any")
TIMER(timer_that_deletes_itself, (void *)del_timer_sync, "any")

ATTACK(timers, "any")
{
	struct timer_list *many = vmalloc(100000 * sizeof(*many));
	int i;

	for (i = 0; many && i < 100000; i++) {
		timer_setup(&many[i], (void *)alive, 0);
		mod_timer(&many[i], jiffies + i);
	}
	return 0;
}

static void tasklet_again(unsigned long unused)
{
	tasklet_schedule(&tasklet);
}

ATTACK(tasklet_that_schedules_itself, "any")
{
	tasklet_init(&tasklet, tasklet_again, 0);
	tasklet_schedule(&tasklet);
	return 0;
}

static void callback_again(struct rcu_head *head)
{
	call_rcu(head, callback_again);
}

ATTACK(rcu_callback_that_queues_itself, "any")
{
	static struct rcu_head head;

	call_rcu(&head, callback_again);
	return 0;
}

ATTACK(same_rcu_head_again_and_again, "any")
{
	static struct rcu_head head;
	int i;

	for (i = 0; i < 100000; i++)
		call_rcu(&head, (void *)alive);
	return 0;
}
