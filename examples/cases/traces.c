// SPDX-License-Identifier: GPL-2.0-only
/* Saved call traces: of the caller, without the innermost frames, of few entries. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/stacktrace.h>
#include <linux/workqueue.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("saves call traces");

static unsigned long entries[16];

/* The module's own frames: the kernel's are another matter. */
static noinline void show(const char *what, unsigned int count)
{
	unsigned int n, mine = 0;

	for (n = 0; n < count; n++)
		mine += within_module(entries[n], THIS_MODULE);
	pr_info("%s: %u frames are this module's\n", what, mine);
	for (n = 0; n < count; n++)
		if (within_module(entries[n], THIS_MODULE))
			stack_trace_print(&entries[n], 1, 2);
}

static noinline void inner(const char *what)
{
	show(what, stack_trace_save(entries, ARRAY_SIZE(entries), 0));
	show("without the first", stack_trace_save(entries, ARRAY_SIZE(entries), 1));
	show("only the first", stack_trace_save(entries, 1, 0));
	show("none", stack_trace_save(entries, 0, 0));
	show("past the end", stack_trace_save(entries, ARRAY_SIZE(entries), 100));
}

static noinline void outer(const char *what)
{
	inner(what);
	pr_info("%s: done\n", what);
}

static void work(struct work_struct *item)
{
	outer("work");
}

static DECLARE_WORK(item, work);

static int __init traces_init(void)
{
	outer("init");
	schedule_work(&item);
	flush_work(&item);
	return 0;
}

static void __exit traces_exit(void)
{
	outer("exit");
}

module_init(traces_init);
module_exit(traces_exit);
