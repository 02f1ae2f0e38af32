// SPDX-License-Identifier: GPL-2.0-only
/* What is allowed in one context, done in another; and the variables that say which context it is, forged. */
#include "attack.h"

#include <linux/console.h>
#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/interrupt.h>
#include <linux/irq_work.h>
#include <linux/kernel.h>
#include <linux/kmod.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/stacktrace.h>
#include <linux/timekeeping.h>
#include <linux/uaccess.h>
#include <linux/umh.h>
#include <linux/workqueue.h>

static noinline int alive(const char *what)
{
	pr_info("%s\n", what);
	return 0;
}

/* -- a deed in each context that cannot sleep -- */

static void (*deed)(void);

static enum hrtimer_restart by_hrtimer(struct hrtimer *timer) { deed(); return HRTIMER_NORESTART; }
static void by_timer(struct timer_list *timer) { deed(); }
static void by_tasklet(struct tasklet_struct *tasklet) { deed(); }
static void by_irq_work(struct irq_work *work) { deed(); }
static void by_rcu(struct rcu_head *head) { deed(); }
static void by_work(struct work_struct *work) { deed(); }

static struct hrtimer hrtimer;
static struct timer_list timer;
static struct tasklet_struct tasklet;
static struct irq_work interrupt_work;
static struct rcu_head head;
static DECLARE_WORK(work, by_work);

static void everywhere(void (*what)(void))
{
	deed = what;
	hrtimer_init(&hrtimer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	hrtimer.function = by_hrtimer;
	hrtimer_start(&hrtimer, 1000, HRTIMER_MODE_REL);
	timer_setup(&timer, by_timer, 0);
	mod_timer(&timer, jiffies + 1);
	tasklet_setup(&tasklet, by_tasklet);
	tasklet_schedule(&tasklet);
	init_irq_work(&interrupt_work, by_irq_work);
	irq_work_queue(&interrupt_work);
	call_rcu(&head, by_rcu);
	schedule_work(&work);
	msleep(50);
}

#define EVERYWHERE(name, what, ends)								\
	static void do_##name(void) { what; }							\
	ATTACK(name, ends) { everywhere(do_##name); return alive(#name); }

EVERYWHERE(print_everywhere, pr_emerg("%pS %s\n", (void *)do_print_everywhere, "\x1b[2J\r\n<0>forged"), "any")
EVERYWHERE(warn_everywhere, WARN(1, "%s", "\x1b]0;x\a\n"), "any")
EVERYWHERE(oops_everywhere, *(volatile int *)8 = 1, "any")
EVERYWHERE(panic_everywhere, panic("%s", "\x1b[2J\nforged"), "panic")
EVERYWHERE(sleep_everywhere, msleep(1000000), "any")
EVERYWHERE(schedule_everywhere, schedule(), "any")
EVERYWHERE(exit_everywhere, kthread_complete_and_exit(NULL, 0), "any")
EVERYWHERE(request_everywhere, request_module("nothing_%d", 1), "any")
EVERYWHERE(help_everywhere, call_usermodehelper("/bin/sh", (char *[]){ "sh", NULL }, NULL, UMH_WAIT_PROC), "any")
EVERYWHERE(thread_everywhere, kthread_run((void *)alive, "x", "x"), "any")
EVERYWHERE(allocate_everywhere, vmalloc(1 << 20), "any")
EVERYWHERE(wait_for_readers_everywhere, synchronize_rcu(), "any")
EVERYWHERE(wait_for_callbacks_everywhere, rcu_barrier(), "any")
EVERYWHERE(unload_everywhere, __symbol_put("printk"); module_put(THIS_MODULE), "any")
EVERYWHERE(flush_everywhere, flush_work(&work), "any")
EVERYWHERE(kill_everywhere, kill_pid(find_vpid(1), SIGKILL, 1); send_sig(SIGKILL, current, 1), "any")
EVERYWHERE(spin_everywhere, for (;;) cpu_relax(), "any")
EVERYWHERE(halt_everywhere, asm volatile("cli; hlt"), "any")
EVERYWHERE(return_nowhere_everywhere, *(void **)__builtin_frame_address(0) = (void *)NOT_CANONICAL; ((void **)__builtin_frame_address(0))[1] = (void *)UNMAPPED, "any")
EVERYWHERE(again_everywhere, mod_timer(&timer, jiffies); tasklet_schedule(&tasklet); irq_work_queue(&interrupt_work); schedule_work(&work), "any")
static struct timespec64 past = { .tv_sec = -1, .tv_nsec = -1 };
EVERYWHERE(time_everywhere, do_settimeofday64(&past), "any")

/* -- the variables that say which context it is -- */

#define SET(name, what, ends) ATTACK(name, ends) { what; schedule_work(&work); msleep(10); return alive(#name); }

static void nothing(void) { }

SET(no_current_task, deed = nothing; this_cpu_write(current_task, NULL), "any")
SET(current_task_nowhere, deed = nothing; this_cpu_write(current_task, (void *)UNMAPPED), "any")
SET(current_task_is_init, deed = nothing; this_cpu_write(current_task, &init_task), "any")
SET(current_task_is_the_module, deed = nothing; this_cpu_write(current_task, (void *)THIS_MODULE), "any")
SET(in_all_contexts, deed = nothing; preempt_count_set(~0), "any")
SET(in_an_nmi, deed = nothing; preempt_count_set(NMI_MASK), "any")
SET(in_an_interrupt, deed = nothing; preempt_count_set(HARDIRQ_OFFSET), "any")
SET(jiffies_at_the_end, deed = nothing; *(u64 *)&jiffies_64 = ~0ULL, "any")
SET(task_without_a_stack, deed = nothing; current->stack = NULL, "any")
SET(task_with_another_s_stack, deed = nothing; current->stack = init_task.stack, "any")
SET(task_that_is_dead, deed = nothing; current->__state = TASK_DEAD; schedule(), "any")
SET(task_of_odd_state, deed = nothing; current->__state = ~0; schedule(), "any")
SET(task_that_exits, deed = nothing; current->flags |= PF_EXITING | PF_IDLE | PF_WQ_WORKER, "any")
SET(task_that_is_its_parent, deed = nothing; current->real_parent = current->parent = current; INIT_LIST_HEAD(&current->children), "any")
SET(task_of_no_threads, deed = nothing; current->thread_info.flags = ~0UL, "any")
SET(task_in_user_space, deed = nothing; current->mm = current->active_mm = (void *)UNMAPPED, "any")
SET(name_of_the_task, deed = nothing; memcpy(current->comm, "\x1b[2J\n%s%n\xff\xfe\x9b", 16); WARN_ON(1), "any")
SET(tasks_of_itself, deed = nothing; current->tasks.next = current->tasks.prev = &current->tasks, "any")

/* -- consoles, and notifiers of the machine -- */

static int depth;

static void print_more(struct console *console, const char *text, unsigned int length)
{
	if (depth++ < 100000)
		pr_info("%d %.*s\n", depth, length, text);
}

static void console_wild(struct console *console, const char *text, unsigned int length) { *(volatile char *)text = 0; ((void (*)(void))UNMAPPED)(); }

#define CONSOLE(attack, writes, ends)								\
	ATTACK(attack, ends)									\
	{											\
		static struct console console = { .name = "x\x1b[2J", .write = writes, .flags = CON_ENABLED | CON_PRINTBUFFER, .index = -1 }; \
		register_console(&console);							\
		pr_info("a line\n");								\
		unregister_console(&console);							\
		return alive(#attack);								\
	}

CONSOLE(console_that_prints, print_more, "any")
CONSOLE(console_that_is_wild, console_wild, "any")
CONSOLE(console_without_a_function, NULL, "any")

static int load_and_fail(struct notifier_block *block, unsigned long state, void *module)
{
	request_module("params");
	try_module_get(module);
	return NOTIFY_BAD;
}

ATTACK(notifier_that_takes_modules, "any")
{
	static struct notifier_block block = { .notifier_call = load_and_fail };

	register_module_notifier(&block);
	request_module("exporter");
	unregister_module_notifier(&block);
	return alive("notifier");
}

/* -- all of memory -- */

ATTACK(memory_read_without_faults, "any")
{
	unsigned long at, found = 0;
	u64 word;

	for (at = 0; at + 8 > at; at += 0x7fff1000000UL)
		found += !copy_from_kernel_nofault(&word, (void *)at, 8);
	pr_info("%lu\n", found);
	return alive("read");
}

ATTACK(stubs_are_halts, "any")
{
	u8 *code = physical(*entry_of(STUBS, 1) & 0x000ffffffffff000UL);

	if (code)
		memset(code, 0xf4, PAGE_SIZE);
	return alive("halts");
}

ATTACK(stubs_are_noise, "any")
{
	u8 *code = physical(*entry_of(STUBS, 1) & 0x000ffffffffff000UL);
	int i;

	for (i = 0; code && i < PAGE_SIZE; i++)
		code[i] = i * 167 + 13;
	return alive("noise");
}

ATTACK(stubs_jump_to_themselves, "any")
{
	u8 *code = physical(*entry_of(STUBS, 1) & 0x000ffffffffff000UL);
	int i;

	for (i = 0; code && i < PAGE_SIZE; i += 2) {
		code[i] = 0xeb;
		code[i + 1] = 0xfe;
	}
	return alive("jumps");
}

ATTACK(traces_of_all, "any")
{
	unsigned long *entries = (void *)__get_free_page(GFP_KERNEL);

	stack_trace_save(entries, INT_MAX, 0);
	return alive("trace");
}

ATTACK(symbols_of_all, "any")
{
	char *text = (void *)__get_free_page(GFP_KERNEL);
	unsigned long at;

	for (at = ~0UL; at > 1UL << 62; at -= 1UL << 55)
		sprint_symbol(text, at);
	sprint_symbol((void *)UNMAPPED, (unsigned long)alive);
	return alive("symbols");
}

ATTACK(time_runs_away, "any")
{
	struct timespec64 far = { KTIME_SEC_MAX, 999999999 }, odd = { LONG_MIN, LONG_MIN };

	do_settimeofday64(&far);
	do_settimeofday64(&odd);
	pr_info("%lld\n", ktime_get_real_seconds());
	msleep(UINT_MAX);
	return alive("time");
}

ATTACK(port_loops, "lockup")
{
	asm volatile("1: in $0x80,%%al; out %%al,$0x80; jmp 1b" : : : "eax");
	return 0;
}

ATTACK(copy_of_all, "any")
{
	asm volatile("rep movsb" : : "S" (PAGE_OFFSET), "D" (PAGE_OFFSET + 1), "c" (~0UL) : "memory");
	return alive("copy");
}

ATTACK(fill_downwards, "any")
{
	asm volatile("std; rep stosq; cld" : : "D" (__builtin_frame_address(0)), "a" (NOT_CANONICAL), "c" (~0UL) : "memory");
	return alive("fill");
}
