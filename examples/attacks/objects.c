// SPDX-License-Identifier: GPL-2.0-only
/* The kernel's objects, the module's own among them: overwritten, linked to themselves, freed twice. */
#include "attack.h"

#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/interrupt.h>
#include <linux/kthread.h>
#include <linux/list_sort.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/percpu.h>
#include <linux/rbtree.h>
#include <linux/rwsem.h>
#include <linux/sched/signal.h>
#include <linux/srcu.h>
#include <linux/swait.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

static u8 room[8192] __aligned(64);

static noinline int alive(const char *what)
{
	pr_info("%s\n", what);
	return 0;
}

/* -- overwritten -- */

#define OVER(name, object, size, byte, after, ends) \
	ATTACK(name, ends) { memset(UNKNOWN(object), byte, size); after; return alive(#name); }

#define OVERS(name, object, size, after, ends)			\
	OVER(name##_zeros, object, size, 0, after, ends)	\
	OVER(name##_ones, object, size, 0xff, after, ends)	\
	OVER(name##_letters, object, size, 0x41, after, ends)

OVERS(own_struct_module, THIS_MODULE, sizeof(struct module), , "any")
OVERS(own_list_entry, &THIS_MODULE->list, 16, request_module("x"), "any")
OVERS(own_parameter, kp, sizeof(*kp), , "any")
OVERS(own_symbols, THIS_MODULE->kallsyms, sizeof(*THIS_MODULE->kallsyms), WARN_ON(1), "any")
OVERS(own_name, THIS_MODULE->name, MODULE_NAME_LEN, WARN_ON(1), "any")
OVERS(current_task, current, 4096, , "any")
OVERS(current_task_printed, current, 4096, WARN_ON(1), "any")
OVERS(current_task_forks, current, 4096, kthread_run((void *)alive, "x", "y"), "any")
OVERS(current_name, current->comm, TASK_COMM_LEN, WARN_ON(1), "any")
OVERS(own_stack, current->stack, 4096, , "any")
OVERS(per_cpu_area, this_cpu_ptr((void __percpu *)0), 65536, , "any")
OVERS(system_workqueue, system_wq, 256, ({ static struct work_struct w; INIT_WORK(&w, (void *)alive); \
	schedule_work(&w); flush_scheduled_work(); }), "any")
OVERS(pointer_to_workqueue, &system_wq, 8, ({ static struct work_struct w; INIT_WORK(&w, (void *)alive); \
	schedule_work(&w); }), "any")
OVERS(struct_page, virt_to_page(room), 64, free_page(__get_free_page(GFP_KERNEL)), "any")
OVERS(pointer_to_page_offset, &page_offset_base, 8, , "any")

ATTACK(list_of_modules_of_itself, "any")
{
	struct list_head *entry = &THIS_MODULE->list;

	entry->next->prev = entry;
	entry->next = entry->prev = entry;
	request_module("x");
	WARN_ON(1);
	return alive("list");
}

ATTACK(state_of_the_module_forged, "any")
{
	THIS_MODULE->state = 77;
	atomic_set(&THIS_MODULE->refcnt, INT_MAX);
	__module_get(THIS_MODULE);
	return alive("state");
}

ATTACK(exit_function_forged, "any")
{
	THIS_MODULE->exit = (void *)NOT_CANONICAL;
	THIS_MODULE->init = (void *)UNMAPPED;
	return 0;
}

ATTACK(references_below_zero, "any")
{
	int i;

	for (i = 0; i < 1000; i++)
		module_put(THIS_MODULE);
	return alive("put");
}

/* -- forged -- */

#define FORGED(name, type, setup, call, ends)							\
	ATTACK(name##_zeros, ends) { type *o = (void *)room; memset(room, 0, sizeof(room)); setup; call; return alive(#name); } \
	ATTACK(name##_ones, ends) { type *o = (void *)room; memset(room, 0xff, sizeof(room)); setup; call; return alive(#name); } \
	ATTACK(name##_itself, ends) { type *o = (void *)room; int i; for (i = 0; i < sizeof(room) / 8; i++) ((u64 *)room)[i] = (u64)room; \
		setup; call; return alive(#name); } \
	ATTACK(name##_nowhere, ends) { type *o = (void *)room; int i; for (i = 0; i < sizeof(room) / 8; i++) ((u64 *)room)[i] = UNMAPPED; \
		setup; call; return alive(#name); }

FORGED(mutex_lock_of, struct mutex, , mutex_lock(o), "any")
FORGED(mutex_unlock_of, struct mutex, , mutex_unlock(o), "any")
FORGED(rwsem_down_of, struct rw_semaphore, , down_write(o), "any")
FORGED(rwsem_up_of, struct rw_semaphore, , up_read(o), "any")
FORGED(complete_of, struct completion, , complete(o), "any")
FORGED(complete_all_of, struct completion, , complete_all(o), "any")
FORGED(wait_of, struct completion, , wait_for_completion_timeout(o, 10), "any")
FORGED(wake_up_of, wait_queue_head_t, , wake_up_all(o), "any")
FORGED(add_wait_of, wait_queue_head_t, , ({ DEFINE_WAIT(w); prepare_to_wait(o, &w, TASK_UNINTERRUPTIBLE); finish_wait(o, &w); }), "any")
FORGED(swake_up_of, struct swait_queue_head, , swake_up_all(o), "any")
FORGED(timer_of, struct timer_list, , ({ mod_timer(o, jiffies + 1); msleep(20); }), "any")
FORGED(del_timer_of, struct timer_list, , del_timer_sync(o), "any")
FORGED(hrtimer_of, struct hrtimer, , ({ hrtimer_start(o, 1, HRTIMER_MODE_REL); msleep(20); }), "any")
FORGED(hrtimer_cancel_of, struct hrtimer, , hrtimer_cancel(o), "any")
FORGED(work_of, struct work_struct, , ({ schedule_work(o); flush_work(o); }), "any")
FORGED(cancel_work_of, struct work_struct, , cancel_work_sync(o), "any")
FORGED(delayed_work_of, struct delayed_work, , ({ schedule_delayed_work(o, 1); msleep(20); }), "any")
FORGED(flush_delayed_of, struct delayed_work, , flush_delayed_work(o), "any")
FORGED(destroy_workqueue_of, struct workqueue_struct, , destroy_workqueue(o), "any")
FORGED(tasklet_of, struct tasklet_struct, , ({ tasklet_schedule(o); msleep(20); tasklet_kill(o); }), "any")
FORGED(rcu_of, struct rcu_head, , ({ call_rcu(o, (void *)UNMAPPED); msleep(100); }), "any")
FORGED(rcu_free_of, struct rcu_head, , ({ kvfree_call_rcu(o, (void *)o); msleep(100); }), "any")
FORGED(srcu_of, struct srcu_struct, , ({ int i = __srcu_read_lock(o); __srcu_read_unlock(o, i); synchronize_srcu(o); }), "any")
FORGED(srcu_cleanup_of, struct srcu_struct, , cleanup_srcu_struct(o), "any")
FORGED(cache_of, struct kmem_cache, , kmem_cache_free(o, kmem_cache_alloc(o, GFP_KERNEL)), "any")
FORGED(cache_destroy_of, struct kmem_cache, , kmem_cache_destroy(o), "any")
FORGED(kthread_stop_of, struct task_struct, , kthread_stop(o), "any")
FORGED(wake_up_process_of, struct task_struct, , wake_up_process(o), "any")
FORGED(send_signal_of, struct task_struct, , send_sig(SIGKILL, o, 1), "any")
FORGED(put_task_of, struct task_struct, , put_task_struct(o), "any")
FORGED(worker_of, struct kthread_worker, , ({ static struct kthread_work w; kthread_init_work(&w, (void *)alive); \
	kthread_queue_work(o, &w); kthread_flush_worker(o); }), "any")
FORGED(worker_destroy_of, struct kthread_worker, , kthread_destroy_worker(o), "any")
FORGED(notifier_of, struct atomic_notifier_head, , atomic_notifier_call_chain(o, 1, NULL), "any")
FORGED(notifier_register_of, struct raw_notifier_head, , raw_notifier_chain_register(o, (void *)(room + 4096)), "any")
FORGED(tree_of, struct rb_root, , ({ rb_first(o); rb_last(o); rb_erase((void *)room, o); }), "any")
FORGED(tree_next_of, struct rb_node, , ({ rb_next(o); rb_prev(o); rb_first_postorder((void *)o); }), "any")
FORGED(list_sort_of, struct list_head, , list_sort(NULL, o, (void *)alive), "any")
FORGED(module_of, struct module, , ({ try_module_get(o); module_put(o); }), "any")
FORGED(bits_of, unsigned long, , ({ wake_up_bit(o, 3); __wake_up_bit((void *)o, o, 7); }), "any")

/* -- freed -- */

#define FREE(name, call, ends) ATTACK(name, ends) { call; return alive(#name); }

FREE(free_null_and_more, kfree((void *)1), "any")
FREE(free_error, kfree(ERR_PTR(-22)), "any")
FREE(free_own_data, kfree(room), "any")
FREE(free_own_code, kfree(alive), "any")
FREE(free_own_stack, kfree(current->stack), "any")
FREE(free_a_variable, ({ int i; kfree(&i); }), "any")
FREE(free_the_current_task, kfree(current), "any")
FREE(free_own_struct_module, kfree(THIS_MODULE), "any")
FREE(free_unmapped, kfree((void *)UNMAPPED), "any")
FREE(free_the_frame, kfree((void *)FRAME), "any")
FREE(free_twice, ({ void *p = kmalloc(64, GFP_KERNEL); kfree(p); kfree(p); }), "any")
FREE(free_the_middle, kfree(kmalloc(64, GFP_KERNEL) + 8), "any")
FREE(vfree_own_stack, vfree(current->stack), "any")
FREE(vfree_own_module, vfree((void *)((unsigned long)alive & PAGE_MASK)), "any")
FREE(vfree_the_stubs, vfree((void *)STUBS), "any")
FREE(vfree_twice, ({ void *p = vmalloc(4096); vfree(p); vfree(p); }), "any")
FREE(vunmap_own_stack, vunmap(current->stack), "any")
FREE(pages_of_own_stack_freed, __free_pages(vmalloc_to_page(current->stack), 0), "any")
FREE(page_nowhere_freed, __free_pages((void *)UNMAPPED, 0), "any")
FREE(pages_of_all_orders_freed, ({ int i; for (i = 0; i < 64; i++) __free_pages(virt_to_page(kmalloc(4096, GFP_KERNEL)), i); }), "any")
FREE(percpu_nowhere_freed, free_percpu((void __percpu *)UNMAPPED), "any")
FREE(current_put_a_thousand_times, ({ int i; for (i = 0; i < 1000; i++) put_task_struct(current); }), "any")
FREE(reallocate_own_stack, krealloc(current->stack, 1 << 20, GFP_KERNEL), "any")
FREE(cache_destroyed_in_use, ({ struct kmem_cache *c = kmem_cache_create("x", 64, 0, 0, NULL); void *p = kmem_cache_alloc(c, GFP_KERNEL); \
	kmem_cache_destroy(c); kmem_cache_free(c, p); kmem_cache_alloc(c, GFP_KERNEL); }), "any")
FREE(workqueue_destroyed_twice, ({ struct workqueue_struct *w = alloc_workqueue("x", 0, 0); destroy_workqueue(w); destroy_workqueue(w); }), "any")
FREE(workqueue_destroyed_by_its_work, ({ static struct work_struct w; static struct workqueue_struct *q; q = alloc_workqueue("x", 0, 0); \
	INIT_WORK(&w, (void *)destroy_workqueue); queue_work(q, &w); msleep(10); }), "any")
FREE(exit_in_the_setter, kthread_complete_and_exit(NULL, 0), "any")
FREE(exit_with_a_completion, kthread_complete_and_exit((void *)UNMAPPED, 0), "any")
FREE(thread_of_nothing, kthread_run((void *)0, NULL, "x"), "any")
FREE(thread_of_data, kthread_run((void *)room, NULL, "%s", (char *)UNMAPPED), "any")
FREE(thread_stopped_twice, ({ struct task_struct *t = kthread_run((void *)alive, "x", "x"); msleep(5); kthread_stop(t); kthread_stop(t); }), "any")

/* -- sizes -- */

FREE(size_of_all_kmalloc, ({ int i; for (i = 0; i < 64; i++) { kfree(kmalloc(1UL << i, GFP_KERNEL)); vfree(vmalloc(1UL << i)); } \
	kmalloc(~0UL, GFP_KERNEL); vmalloc(~0UL); kvmalloc(~0UL, GFP_KERNEL); }), "any")
FREE(size_of_all_percpu, ({ int i; for (i = 0; i < 64; i++) __alloc_percpu(1UL << i, 1UL << i); }), "any")
FREE(size_of_all_caches, ({ int i; for (i = 0; i < 32; i++) kmem_cache_create("x", 1U << i, 1U << i, ~0U, (void *)UNMAPPED); }), "any")
FREE(size_of_all_memset, memset(UNKNOWN(room), 0x41, 1UL << 62), "any")
FREE(size_of_all_memcpy, memcpy(UNKNOWN(room), (void *)PAGE_OFFSET, ~0UL), "any")
FREE(size_of_all_vmap, vmap(UNKNOWN(room), 0x7fffffff, 0, PAGE_KERNEL), "any")
FREE(size_of_all_duplicates, kmemdup(UNKNOWN(room), ~0UL, GFP_KERNEL), "any")
FREE(size_of_all_strings, ({ memset(room, 'x', sizeof(room)); kstrdup((char *)room, GFP_KERNEL); \
	snprintf(NULL, ~0UL, "%s", (char *)room); }), "any")
