// SPDX-License-Identifier: GPL-2.0-only
/* Callbacks that recurse, never return or never stop; objects overwritten while they are in use; forged tables. */
#include "attack.h"

#include <linux/async.h>
#include <linux/bsearch.h>
#include <linux/crc32.h>
#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/interrupt.h>
#include <linux/irq_work.h>
#include <linux/kmod.h>
#include <linux/kthread.h>
#include <linux/list_sort.h>
#include <linux/notifier.h>
#include <linux/random.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/sort.h>
#include <linux/srcu.h>
#include <linux/umh.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

static noinline int alive(const char *what)
{
	pr_info("%s\n", what);
	return 0;
}

static char *argv[] = { "/sbin/modprobe", "nothing", NULL };
static char *envp[] = { "HOME=/", "PATH=/sbin:/bin", NULL };

/* -- recursion, by the guest alone and through the kernel -- */

static noinline int deeper(int n)
{
	volatile int here = n;

	return deeper(n + 1) + here;
}

ATTACK(recursion, "panic")
{
	return deeper(0);
}

static LIST_HEAD(list);
static struct list_head entries[2];

static int compares_lists(void *priv, const struct list_head *a, const struct list_head *b)
{
	LIST_HEAD(own);
	struct list_head two[2];

	list_add(&two[0], &own);
	list_add(&two[1], &own);
	list_sort(NULL, &own, compares_lists);
	return 0;
}

ATTACK(recursion_by_list_sort, "any")
{
	list_add(&entries[0], &list);
	list_add(&entries[1], &list);
	list_sort(NULL, &list, compares_lists);
	return alive("sorted");
}

static int compares(const void *a, const void *b)
{
	u64 numbers[2] = { 2, 1 };

	sort(numbers, 2, 8, compares, NULL);
	return 0;
}

ATTACK(recursion_by_sort, "any")
{
	u64 numbers[2] = { 2, 1 };

	sort(numbers, 2, 8, compares, NULL);
	return alive("sorted");
}

static int searches(const void *key, const void *other)
{
	return bsearch(key, key, 1, 8, searches) != NULL;
}

ATTACK(recursion_by_bsearch, "any")
{
	u64 number = 1;

	bsearch(&number, &number, 1, 8, searches);
	return alive("found");
}

static ATOMIC_NOTIFIER_HEAD(atomic_chain);
static BLOCKING_NOTIFIER_HEAD(blocking_chain);
static RAW_NOTIFIER_HEAD(raw_chain);

static int calls_atomic(struct notifier_block *block, unsigned long value, void *data)
{
	return atomic_notifier_call_chain(&atomic_chain, value, data);
}

static int calls_blocking(struct notifier_block *block, unsigned long value, void *data)
{
	return blocking_notifier_call_chain(&blocking_chain, value, data);
}

static int calls_raw(struct notifier_block *block, unsigned long value, void *data)
{
	return raw_notifier_call_chain(&raw_chain, value, data);
}

static int removes_itself(struct notifier_block *block, unsigned long value, void *data)
{
	return raw_notifier_chain_unregister(&raw_chain, block);
}

static int registers_more(struct notifier_block *block, unsigned long value, void *data)
{
	struct notifier_block *more = kzalloc(sizeof(*more), GFP_ATOMIC);

	if (more) {
		more->notifier_call = registers_more;
		raw_notifier_chain_register(&raw_chain, more);
	}
	return NOTIFY_OK;
}

#define CHAIN(name, kind, callback, ends)								\
	ATTACK(name, ends)										\
	{												\
		static struct notifier_block block = { .notifier_call = callback };			\
		kind##_notifier_chain_register(&kind##_chain, &block);					\
		kind##_notifier_call_chain(&kind##_chain, 0, NULL);					\
		return alive(#name);									\
	}

CHAIN(recursion_by_atomic_notifier, atomic, calls_atomic, "any")
CHAIN(recursion_by_blocking_notifier, blocking, calls_blocking, "any")
CHAIN(recursion_by_raw_notifier, raw, calls_raw, "any")
CHAIN(notifier_that_removes_itself, raw, removes_itself, "any")
CHAIN(notifier_that_registers_more, raw, registers_more, "any")
CHAIN(notifier_without_a_function, raw, NULL, "any")
CHAIN(notifier_that_frees_itself, raw, (void *)kfree, "any")

ATTACK(notifiers, "any")
{
	struct notifier_block *block;
	int priority = 0;

	while ((block = kzalloc(sizeof(*block), GFP_KERNEL))) {
		block->notifier_call = (void *)alive;
		block->priority = priority--;
		raw_notifier_chain_register(&raw_chain, block);
	}
	raw_notifier_call_chain(&raw_chain, 0, "notified");
	return alive("notifiers");
}

static int requests_a_module(struct notifier_block *block, unsigned long value, void *data)
{
	request_module("exporter");
	request_module("params");
	return NOTIFY_OK;
}

ATTACK(module_notifier_that_requests_modules, "any")
{
	static struct notifier_block block = { .notifier_call = requests_a_module };

	register_module_notifier(&block);
	request_module("exporter");
	return alive("requested");
}

static DECLARE_WAIT_QUEUE_HEAD(queue);
static struct wait_queue_entry entry;

static int wakes(struct wait_queue_entry *entry, unsigned int mode, int flags, void *key)
{
	__wake_up(&queue, mode, 1, key);
	return 1;
}

static int waits_again(struct wait_queue_entry *entry, unsigned int mode, int flags, void *key)
{
	list_del_init(&entry->entry);
	list_add_tail(&entry->entry, &queue.head);
	return 0;
}

static int frees(struct wait_queue_entry *entry, unsigned int mode, int flags, void *key)
{
	kfree(entry);
	return 0;
}

#define WAIT(name, callback, ends)									\
	ATTACK(name, ends)										\
	{												\
		init_waitqueue_func_entry(&entry, callback);						\
		add_wait_queue(&queue, &entry);								\
		wake_up_all(&queue);									\
		return alive(#name);									\
	}

WAIT(recursion_by_wake_up, wakes, "any")
WAIT(waiter_that_waits_again, waits_again, "any")
WAIT(waiter_without_a_function, NULL, "any")
WAIT(waiter_that_frees_itself, frees, "any")

ATTACK(waiters, "any")
{
	struct wait_queue_entry *more;

	while ((more = kzalloc(sizeof(*more), GFP_KERNEL))) {
		init_waitqueue_func_entry(more, (void *)waits_again);
		add_wait_queue(&queue, more);
	}
	wake_up_all(&queue);
	return alive("waiters");
}

static struct kmem_cache *cache;

static void allocates(void *object)
{
	kmem_cache_alloc(cache, GFP_KERNEL);
}

ATTACK(recursion_by_constructor, "any")
{
	cache = kmem_cache_create("recursive", 64, 0, 0, allocates);
	kmem_cache_alloc(cache, GFP_KERNEL);
	return alive("constructed");
}

static int helps(struct subprocess_info *info, struct cred *cred)
{
	return call_usermodehelper_exec(call_usermodehelper_setup(argv[0], argv, envp, GFP_KERNEL, helps, NULL, NULL), UMH_WAIT_PROC);
}

static void helps_again(struct subprocess_info *info)
{
	call_usermodehelper_exec(call_usermodehelper_setup(argv[0], argv, envp, GFP_KERNEL, NULL, helps_again, NULL), UMH_WAIT_PROC);
}

#define HELP(name, init, cleanup, wait, ends)								\
	ATTACK(name, ends)										\
	{												\
		call_usermodehelper_exec(call_usermodehelper_setup(argv[0], argv, envp, GFP_KERNEL, init, cleanup, NULL), wait); \
		return alive(#name);									\
	}

HELP(recursion_by_helper_s_init, helps, NULL, UMH_WAIT_PROC, "any")
HELP(recursion_by_helper_s_cleanup, NULL, helps_again, UMH_WAIT_PROC, "any")
HELP(recursion_by_helper_s_cleanup_not_waited_for, NULL, helps_again, UMH_NO_WAIT, "any")
HELP(helper_s_init_that_exits, (void *)kthread_complete_and_exit, NULL, UMH_WAIT_PROC, "any")
HELP(helper_s_cleanup_that_frees, NULL, (void *)kfree, UMH_WAIT_PROC, "any")

static struct delayed_work delayed;
static struct irq_work interrupt_work;
static struct tasklet_struct tasklet;
static struct work_struct work;
static struct timer_list timer;
static struct hrtimer high;
static struct rcu_head rcu;

static void delayed_again(struct work_struct *unused) { schedule_delayed_work(&delayed, 0); }
static void interrupts_again(struct irq_work *self) { irq_work_queue(self); }
static void tasklet_again(unsigned long unused) { tasklet_hi_schedule(&tasklet); }
static void async_again(void *data, async_cookie_t cookie) { async_schedule(async_again, data); }
static void rcu_again(struct rcu_head *head);

DEFINE_STATIC_SRCU(readers);

static void rcu_again(struct rcu_head *head) { call_srcu(&readers, head, rcu_again); }

ATTACK(delayed_work_that_queues_itself, "any")
{
	INIT_DELAYED_WORK(&delayed, delayed_again);
	schedule_delayed_work(&delayed, 0);
	return 0;
}

ATTACK(interrupt_work_that_queues_itself, "any")
{
	init_irq_work(&interrupt_work, interrupts_again);
	irq_work_queue(&interrupt_work);
	return 0;
}

ATTACK(high_tasklet_that_schedules_itself, "any")
{
	tasklet_init(&tasklet, tasklet_again, 0);
	tasklet_hi_schedule(&tasklet);
	return 0;
}

ATTACK(async_call_that_schedules_itself, "any")
{
	async_schedule(async_again, NULL);
	async_synchronize_full();
	return 0;
}

ATTACK(srcu_callback_that_queues_itself, "any")
{
	call_srcu(&readers, &rcu, rcu_again);
	srcu_barrier(&readers);
	return 0;
}

static struct kthread_worker *worker;
static struct kthread_work worker_s_work;

static void worker_again(struct kthread_work *unused) { kthread_queue_work(worker, &worker_s_work); }

ATTACK(worker_s_work_that_queues_itself, "any")
{
	worker = kthread_create_worker(0, "x");
	kthread_init_work(&worker_s_work, worker_again);
	kthread_queue_work(worker, &worker_s_work);
	kthread_destroy_worker(worker);
	return 0;
}

/* -- overwritten in use -- */

static void nothing(void) { }

#define PENDING(name, setup, object, ends)								\
	ATTACK(name##_zeros, ends) { setup; memset(UNKNOWN(object), 0, sizeof(*object)); msleep(50); return alive(#name); }	\
	ATTACK(name##_ones, ends) { setup; memset(UNKNOWN(object), 0xff, sizeof(*object)); msleep(50); return alive(#name); }	\
	ATTACK(name##_itself, ends)									\
	{												\
		int i;											\
		setup;											\
		for (i = 0; i < sizeof(*object) / 8; i++)						\
			((u64 *)UNKNOWN(object))[i] = (u64)object;					\
		msleep(50);										\
		return alive(#name);									\
	}

static int sleeps(void *unused)
{
	for (;;)
		msleep(10);
	return 0;
}

static struct task_struct *sleeper(void)
{
	struct task_struct *task = kthread_run(sleeps, NULL, "sleeper");

	msleep(1);
	return task;
}

PENDING(pending_timer, timer_setup(&timer, (void *)nothing, 0); mod_timer(&timer, jiffies + 2), (&timer), "any")
PENDING(pending_hrtimer, hrtimer_init(&high, CLOCK_MONOTONIC, HRTIMER_MODE_REL); high.function = (void *)nothing;
	hrtimer_start(&high, 1000000, HRTIMER_MODE_REL), (&high), "any")
PENDING(pending_work, INIT_WORK(&work, (void *)nothing); schedule_work(&work), (&work), "any")
PENDING(pending_delayed_work, INIT_DELAYED_WORK(&delayed, (void *)nothing); schedule_delayed_work(&delayed, 2), (&delayed), "any")
PENDING(pending_tasklet, local_bh_disable(); tasklet_init(&tasklet, (void *)nothing, 0); tasklet_schedule(&tasklet);
	local_bh_enable(), (&tasklet), "any")
PENDING(pending_rcu, call_rcu(&rcu, (void *)nothing), (&rcu), "any")
PENDING(pending_interrupt_work, init_irq_work(&interrupt_work, (void *)nothing); irq_work_queue(&interrupt_work), (&interrupt_work), "any")
PENDING(sleeping_task, struct task_struct *task = sleeper(), task, "any")
PENDING(sleeping_task_s_stack, struct { char all[THREAD_SIZE]; } *stack = sleeper()->stack, stack, "any")
PENDING(own_worker, worker = kthread_create_worker(0, "x"), worker, "any")
PENDING(own_cache, struct { char all[256]; } *own = (void *)kmem_cache_create("x", 64, 0, 0, NULL), own, "any")
PENDING(own_workqueue, struct { char all[512]; } *own = (void *)alloc_workqueue("x", 0, 0), own, "any")
PENDING(freed_object, struct { char all[256]; } *freed = kmalloc(256, GFP_KERNEL); kfree(freed), freed, "any")

ATTACK(sleeping_task_s_stack_freed, "any")
{
	vfree(sleeper()->stack);
	msleep(50);
	return alive("freed");
}

/* -- what never ends, or ends too soon -- */

static int deaf(void *unused)
{
	for (;;)
		schedule_timeout_interruptible(MAX_SCHEDULE_TIMEOUT);
	return 0;
}

static int parks(void *unused)
{
	kthread_park(current);
	kthread_parkme();
	return 0;
}

static int stops_itself(void *unused)
{
	return kthread_stop(current);
}

#define THREAD(name, function, after, ends) \
	ATTACK(name, ends) { struct task_struct *task = kthread_run(function, NULL, "x"); msleep(1); after; return alive(#name); }

THREAD(thread_that_never_stops, deaf, kthread_stop(task), "any")
THREAD(thread_that_is_never_stopped, deaf, , "any")
THREAD(thread_that_parks, parks, kthread_stop(task), "any")
THREAD(thread_that_stops_itself, stops_itself, , "any")
THREAD(thread_of_a_wild_function, (void *)NOT_CANONICAL, kthread_stop(task), "any")
THREAD(thread_that_panics, (void *)panic, , "any")

static void exits_never(void) { for (;;) cpu_relax(); }
static void exits_asleep(void) { for (;;) msleep(1000); }
static void exits_badly(void) { *(volatile int *)8 = 1; }
static void exits_deep(void) { deeper(0); }
static void exits_at_once(void) { kthread_complete_and_exit(NULL, 0); }
static void exits_with_interrupts_off(void) { asm volatile("cli"); local_bh_disable(); preempt_disable(); }
static void exits_by_modprobe(void)
{
	char *remove[] = { "/sbin/modprobe", "-r", THIS_MODULE->name, NULL };

	call_usermodehelper(remove[0], remove, envp, UMH_WAIT_PROC);
}
static void exits_and_comes_back(void) { request_module("callbacks"); }
static void exits_referenced(void) { __module_get(THIS_MODULE); }

#define EXIT(name, function, ends) ATTACK(name, ends) { THIS_MODULE->exit = function; return 0; }

EXIT(exit_that_never_returns, exits_never, "lockup")
EXIT(exit_that_sleeps_for_ever, exits_asleep, "any")
EXIT(exit_that_oopses, exits_badly, "oops")
EXIT(exit_that_recurses, exits_deep, "panic")
EXIT(exit_that_ends_its_task, exits_at_once, "any")
EXIT(exit_with_interrupts_off, exits_with_interrupts_off, "any")
EXIT(exit_by_modprobe, exits_by_modprobe, "any")
EXIT(exit_that_loads_the_module, exits_and_comes_back, "any")
EXIT(exit_that_takes_a_reference, exits_referenced, "any")
EXIT(exit_that_is_freed, (void *)kfree, "any")

#define STORM(name, each, ends) \
	ATTACK(name, ends) { struct task_struct *task; int i; for (i = 0; i < 100000; i++) { each; } msleep(10); return alive(#name); }

STORM(signals_to_itself, send_sig(i % 64, current, 0), "any")
STORM(signals_forced_upon_itself, force_sig(i % 64), "any")
STORM(signals_of_no_kind, send_sig(i * 7919 - 3, current, 1), "any")
STORM(wakeups, wake_up_process(current), "any")
STORM(names, strcpy(current->comm, "%s%n%pV\n"), "any")

/* -- the module's own tables, forged -- */

#define TABLE(name, forge, ends) ATTACK(name, ends) { forge; WARN_ON(1); __symbol_get("nothing_such"); return alive(#name); }

TABLE(table_symbols_many, THIS_MODULE->kallsyms->num_symtab = ~0U, "any")
TABLE(table_names_nowhere, THIS_MODULE->kallsyms->strtab = (char *)UNMAPPED, "any")
TABLE(table_types_nowhere, THIS_MODULE->kallsyms->typetab = (char *)NOT_CANONICAL, "any")
TABLE(table_kallsyms_null, THIS_MODULE->kallsyms = NULL, "any")
TABLE(table_exports_many, THIS_MODULE->num_syms = ~0U; THIS_MODULE->syms = (void *)PAGE_OFFSET, "any")
TABLE(table_gpl_exports_nowhere, THIS_MODULE->num_gpl_syms = 1000; THIS_MODULE->gpl_syms = (void *)UNMAPPED, "any")
TABLE(table_parameters_many, THIS_MODULE->num_kp = ~0U, "any")
TABLE(table_parameters_nowhere, THIS_MODULE->num_kp = 10; THIS_MODULE->kp = (void *)UNMAPPED, "any")
TABLE(table_bugs_many, THIS_MODULE->num_bugs = ~0U, "any")
TABLE(table_bugs_of_itself, THIS_MODULE->bug_list.next = THIS_MODULE->bug_list.prev = &THIS_MODULE->bug_list, "any")
TABLE(table_fixups_many, THIS_MODULE->num_exentries = ~0U; *(volatile int *)8 = 1, "any")
TABLE(table_unwinding_many, THIS_MODULE->arch.num_orcs = ~0U, "any")
TABLE(table_unwinding_nowhere, THIS_MODULE->arch.orc_unwind_ip = (void *)UNMAPPED, "any")
TABLE(table_jumps_many, THIS_MODULE->num_jump_entries = ~0U; THIS_MODULE->jump_entries = (void *)PAGE_OFFSET, "any")
TABLE(table_trace_points_many, THIS_MODULE->num_tracepoints = ~0U, "any")
TABLE(table_static_calls_many, THIS_MODULE->num_static_call_sites = INT_MAX, "any")
TABLE(layout_nowhere, THIS_MODULE->core_layout.base = (void *)UNMAPPED, "any")
TABLE(layout_of_all, THIS_MODULE->core_layout.size = ~0U; THIS_MODULE->core_layout.text_size = ~0U, "any")
TABLE(layout_of_nothing, THIS_MODULE->core_layout.size = 0, "any")
TABLE(init_layout_is_core_layout, THIS_MODULE->init_layout = THIS_MODULE->core_layout, "any")
TABLE(layout_is_the_stubs, THIS_MODULE->core_layout.base = (void *)STUBS, "any")
TABLE(users_of_itself, INIT_LIST_HEAD(&THIS_MODULE->source_list); THIS_MODULE->source_list.next = (void *)&THIS_MODULE->name, "any")
TABLE(used_by_itself, THIS_MODULE->target_list.next = THIS_MODULE->target_list.prev = (void *)UNMAPPED, "any")
TABLE(percpu_nowhere, THIS_MODULE->percpu = (void *)UNMAPPED; THIS_MODULE->percpu_size = ~0U, "any")
TABLE(arguments_nowhere, THIS_MODULE->args = (char *)UNMAPPED, "any")
TABLE(arguments_are_code, THIS_MODULE->args = (char *)alive, "any")
TABLE(attributes_nowhere, THIS_MODULE->modinfo_attrs = (void *)UNMAPPED, "any")
TABLE(sections_nowhere, THIS_MODULE->sect_attrs = (void *)UNMAPPED, "any")
TABLE(notes_nowhere, THIS_MODULE->notes_attrs = (void *)NOT_CANONICAL, "any")
TABLE(kobject_of_ones, memset(UNKNOWN(&THIS_MODULE->mkobj), 0xff, sizeof(THIS_MODULE->mkobj)), "any")
TABLE(version_nowhere, THIS_MODULE->version = THIS_MODULE->srcversion = (char *)UNMAPPED, "any")
TABLE(name_without_an_end, memset(UNKNOWN(THIS_MODULE->name), 'x', 4096), "any")
TABLE(taints_of_all, THIS_MODULE->taints = ~0UL, "any")

/* -- sizes and counts beyond reason -- */

static int greater(const void *a, const void *b) { return 1; }

#define ASKED(name, call, ends) ATTACK(name, ends) { u8 *page = (void *)__get_free_page(GFP_KERNEL); call; return alive(#name); }

ASKED(random_bytes_of_all, get_random_bytes(page, ~0UL), "any")
ASKED(checksum_of_all, crc32_le(0, page, ~0UL), "any")
ASKED(search_of_all, bsearch(page, page, ~0UL >> 4, 8, greater), "any")
ASKED(search_of_nothing_s_size, bsearch(page, page, ~0UL, 0, greater), "any")
ASKED(sort_of_all, sort(page, ~0UL >> 4, 8, greater, NULL), "any")
ASKED(sort_of_huge_objects, sort(page, 2, 1 << 30, greater, NULL), "any")
ASKED(hex_of_all, bin2hex(page, page, ~0UL >> 2), "any")
ASKED(binary_of_all, memset(page, 'a', 4096); hex2bin(page, page, ~0UL >> 2), "any")
ASKED(scan_of_all, memset(page, 'x', 4095); sscanf(page, "%99999999s", page + 1), "any")
ASKED(scan_of_bad_formats, sscanf("1 2 3", "%*%[%n%%n%99999999999d%n", page, page, page), "any")
ASKED(number_of_a_million_digits, memset(page, '9', 4096); simple_strtoull(page, NULL, 36), "any")
ASKED(timeout_negative, schedule_timeout(-5), "any")
ASKED(timeout_least, schedule_timeout(LONG_MIN), "any")
ASKED(delay_of_years, mdelay(1000000000), "any")
ASKED(compared_without_an_end, strcmp(page - 4096, page - 4096), "any")
ASKED(copied_over_itself, memset(page, 'x', 4095); strcpy(UNKNOWN(page + 1), page), "any")
ASKED(thread_of_a_long_name, memset(page, 'x', 4095); kthread_create((void *)alive, "x", "%s%s%s%s", page, page, page, page), "any")
ASKED(cache_of_a_long_name, memset(page, 'x', 4095); kmem_cache_create(page, 8, 0, 0, NULL), "any")
ASKED(queue_of_a_long_name, memset(page, 'x', 4095); alloc_workqueue("%s", 0, INT_MIN, page), "any")
ASKED(cache_of_odd_alignment, kmem_cache_alloc(kmem_cache_create("x", 3, 1 << 31, ~0, NULL), GFP_KERNEL), "any")

/* -- stacks of its own -- */

#define OWN_STACK(name, top, call, ends)								\
	ATTACK(name, ends)										\
	{												\
		asm volatile("mov %%rsp,%%rbx; mov %0,%%rsp; call *%1; mov %%rbx,%%rsp" : : "r" (top), "r" (call), "D" (10) \
			     : "rbx", "rax", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory");	\
		return alive(#name);									\
	}

OWN_STACK(sleep_on_a_heap_stack, kmalloc(8192, GFP_KERNEL) + 8192 - 64, msleep, "any")
OWN_STACK(sleep_on_a_small_stack, kmalloc(64, GFP_KERNEL) + 64, msleep, "any")
OWN_STACK(sleep_on_module_data, (u8 *)&THIS_MODULE->mkobj, msleep, "any")
OWN_STACK(sleep_on_another_s_stack, sleeper()->stack + THREAD_SIZE - 256, msleep, "any")
OWN_STACK(print_on_a_freed_stack, ({ void *stack = vmalloc(8192); vfree(stack); stack + 8192 - 64; }), dump_stack, "any")
OWN_STACK(warn_on_a_heap_stack, kmalloc(8192, GFP_KERNEL) + 8192 - 64, dump_stack, "any")
