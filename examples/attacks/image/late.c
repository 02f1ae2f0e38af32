// SPDX-License-Identifier: GPL-2.0-only
/* What runs when the machine is in trouble, makes more of it: notifiers, dumpers, stopped machines, keys, policies. */
#include "../attack.h"

#include <linux/cpuhotplug.h>
#include <linux/delay.h>
#include <linux/jump_label.h>
#include <linux/kdebug.h>
#include <linux/kmsg_dump.h>
#include <linux/nmi.h>
#include <linux/panic_notifier.h>
#include <linux/perf_event.h>
#include <linux/reboot.h>
#include <linux/smp.h>
#include <linux/stop_machine.h>
#include <linux/sysrq.h>
#include <linux/tracepoint.h>
#include <asm/nmi.h>

static noinline int alive(const char *what)
{
	pr_info("%s\n", what);
	return 0;
}

static int wild(void) { return ((int (*)(void))UNMAPPED)(); }

/* -- notifiers of oopses, panics and the end -- */

static int oops_again(struct notifier_block *block, unsigned long state, void *data) { return *(volatile int *)8; }
static int panic_again(struct notifier_block *block, unsigned long state, void *data) { panic("again"); }
static int restart_now(struct notifier_block *block, unsigned long state, void *data) { emergency_restart(); return 0; }
static int for_ever(struct notifier_block *block, unsigned long state, void *data) { for (;;) cpu_relax(); }
static int asleep(struct notifier_block *block, unsigned long state, void *data) { msleep(1000000); return 0; }
static int printing(struct notifier_block *block, unsigned long state, void *data) { pr_emerg("%*pE\n", 64, data); return NOTIFY_OK; }
static int freed(struct notifier_block *block, unsigned long state, void *data) { block->next = block; return NOTIFY_OK; }
static int warned(struct notifier_block *block, unsigned long state, void *data) { WARN_ON(1); dump_stack(); return NOTIFY_OK; }

#define NOTIFIED(name, call, then, ends)							\
	static struct notifier_block name##_block = { .notifier_call = call };		\
	ATTACK(name, ends) { struct notifier_block *block = &name##_block; then; return alive(#name); }

#define ON_OOPS register_die_notifier(block); *(volatile int *)16 = 1
#define ON_PANIC atomic_notifier_chain_register(&panic_notifier_list, block); panic("%s", "a panic")
#define ON_END register_reboot_notifier(block); kernel_restart(NULL)

NOTIFIED(oops_in_an_oops, oops_again, ON_OOPS, "any")
NOTIFIED(panic_in_an_oops, panic_again, ON_OOPS, "any")
NOTIFIED(restart_in_an_oops, restart_now, ON_OOPS, "any")
NOTIFIED(no_end_in_an_oops, for_ever, ON_OOPS, "any")
NOTIFIED(sleep_in_an_oops, asleep, ON_OOPS, "any")
NOTIFIED(print_in_an_oops, printing, ON_OOPS, "any")
NOTIFIED(chain_forged_in_an_oops, freed, ON_OOPS, "any")
NOTIFIED(warning_in_an_oops, warned, ON_OOPS, "any")
NOTIFIED(oops_in_a_panic, oops_again, ON_PANIC, "any")
NOTIFIED(panic_in_a_panic, panic_again, ON_PANIC, "any")
NOTIFIED(restart_in_a_panic, restart_now, ON_PANIC, "any")
NOTIFIED(no_end_in_a_panic, for_ever, ON_PANIC, "any")
NOTIFIED(sleep_in_a_panic, asleep, ON_PANIC, "any")
NOTIFIED(chain_forged_in_a_panic, freed, ON_PANIC, "any")
NOTIFIED(oops_at_the_end, oops_again, ON_END, "any")
NOTIFIED(panic_at_the_end, panic_again, ON_END, "any")
NOTIFIED(no_end_at_the_end, for_ever, ON_END, "any")
NOTIFIED(sleep_at_the_end, asleep, ON_END, "any")
NOTIFIED(chain_forged_at_the_end, freed, ON_END, "any")

/* -- who reads the log when it is over -- */

static void dump_and_print(struct kmsg_dumper *dumper, enum kmsg_dump_reason reason) { pr_emerg("dump\n"); WARN_ON(1); }
static void dump_wildly(struct kmsg_dumper *dumper, enum kmsg_dump_reason reason) { wild(); }
static void dump_all(struct kmsg_dumper *dumper, enum kmsg_dump_reason reason)
{
	struct kmsg_dump_iter iter = { .cur_seq = 0, .next_seq = ~0ULL };
	size_t length;

	while (kmsg_dump_get_buffer(&iter, true, (char *)__get_free_page(GFP_ATOMIC), ~0UL >> 1, &length))
		;
}

#define DUMPED(name, call, ends)								\
	ATTACK(name, ends) { static struct kmsg_dumper dumper = { .dump = call, .max_reason = KMSG_DUMP_MAX }; \
		kmsg_dump_register(&dumper); panic("a panic"); }

DUMPED(dump_that_prints, dump_and_print, "any")
DUMPED(dump_that_is_wild, dump_wildly, "any")
DUMPED(dump_of_all, dump_all, "any")

/* -- the machine stopped, and called from everywhere -- */

static int stopped(void *data) { msleep(1000); return wild(); }
static void called(void *data) { on_each_cpu(called, data, 1); }
static void called_wildly(void *data) { wild(); }
static int never(void *data) { for (;;) cpu_relax(); }
static int nmi(unsigned int kind, struct pt_regs *regs) { printk("nmi\n"); return wild(); }
static int comes_up(unsigned int cpu) { return wild(); }

ATTACK(machine_stopped_asleep, "any") { stop_machine(stopped, NULL, NULL); return alive("stopped"); }
ATTACK(machine_stopped_for_ever, "any") { stop_machine(never, NULL, NULL); return alive("stopped"); }
ATTACK(call_of_itself, "any") { on_each_cpu(called, NULL, 1); return alive("called"); }
ATTACK(call_that_is_wild, "any") { smp_call_function_single(0, called_wildly, NULL, 1); return alive("called"); }
ATTACK(call_of_no_processor, "any") { smp_call_function_single(INT_MAX, called_wildly, NULL, 1); return alive("called"); }
ATTACK(interrupt_that_is_no_mask, "any") { register_nmi_handler(NMI_LOCAL, nmi, 0, "x"); asm volatile("int $2"); return alive("nmi"); }
ATTACK(processor_that_fails, "any") { cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "x", comes_up, comes_up); return alive("hotplug"); }
ATTACK(watchdog_touched_for_ever, "lockup") { for (;;) touch_nmi_watchdog(); }

/* -- code and keys of the kernel -- */

ATTACK(key_that_is_wild, "any") { static_key_slow_inc((void *)UNMAPPED); return alive("key"); }
ATTACK(key_of_wild_entries, "any")
{
	static struct static_key key;

	key.enabled.counter = 0;
	key.type = UNMAPPED | 1;
	static_key_slow_inc(&key);
	return alive("key");
}
ATTACK(probe_of_a_trace_point_that_is_wild, "any") { static struct tracepoint point = { .name = "x\x1b" }; tracepoint_probe_register(&point, (void *)UNMAPPED, NULL); return alive("trace"); }
ATTACK(counter_of_wild_attributes, "any")
{
	static struct perf_event_attr attr;

	memset(&attr, 0xff, sizeof(attr));
	perf_event_create_kernel_counter(&attr, 0, NULL, (void *)UNMAPPED, NULL);
	memset(&attr, 0, sizeof(attr));
	attr.size = sizeof(attr);
	attr.type = PERF_TYPE_SOFTWARE;
	attr.sample_period = 1;
	perf_event_create_kernel_counter(&attr, 0, NULL, (void *)UNMAPPED, NULL);
	msleep(10);
	return alive("counter");
}
ATTACK(keys_of_the_operator, "any") { const char *key; for (key = "hlmpqtwzdfinoseuvkbc"; *key; key++) handle_sysrq(*key); return alive("keys"); }
ATTACK(key_of_the_operator_that_is_wild, "any")
{
	static const struct sysrq_key_op op = { .handler = (void *)UNMAPPED, .help_msg = "\x1b[2J", .action_msg = "\n" };

	register_sysrq_key('y', &op);
	handle_sysrq('y');
	return alive("key");
}
