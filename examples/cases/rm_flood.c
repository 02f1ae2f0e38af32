// SPDX-License-Identifier: GPL-2.0-only
/* Many threads ask for a module each, or for the same, all at once: no more than 50 modprobes run at a time. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/kmod.h>
#include <linux/kthread.h>
#include <linux/module.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("more requests than the kernel lets through");

static int threads = 60;
module_param(threads, int, 0);
static char *name;			/* the same for all */
module_param(name, charp, 0);

static atomic_t left, succeeded, timed_out, others;
static DECLARE_COMPLETION(all_done);

static int ask(void *number)
{
	switch (name ? request_module("%s", name) : request_module("flood-%ld", (long)number)) {
	case 0:
		atomic_inc(&succeeded);
		break;
	case -ETIME:
		atomic_inc(&timed_out);
		break;
	default:
		atomic_inc(&others);
	}
	if (atomic_dec_and_test(&left))
		complete(&all_done);
	return 0;
}

static int __init rm_flood_init(void)
{
	struct task_struct *task;
	long i;

	atomic_set(&left, threads);
	for (i = 0; i < threads; i++) {
		task = kthread_run(ask, (void *)i, "flood/%ld", i);
		if (IS_ERR(task))
			return PTR_ERR(task);
	}
	wait_for_completion(&all_done);
	pr_info("%d threads: %d got 0, %d got -ETIME, %d something else\n", threads,
		atomic_read(&succeeded), atomic_read(&timed_out), atomic_read(&others));
	return 0;
}

static void __exit rm_flood_exit(void)
{
}

module_init(rm_flood_init);
module_exit(rm_flood_exit);
