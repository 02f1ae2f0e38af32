// SPDX-License-Identifier: GPL-2.0-only
/* Unloads and leaves its thread running in memory that is no longer there. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/module.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("a thread outlives its module");

static volatile bool never;

static int leftover(void *unused)
{
	while (!never)
		msleep(200);
	return 0;
}

static int __init thread_left_init(void)
{
	return PTR_ERR_OR_ZERO(kthread_run(leftover, NULL, "leftover"));
}

static void __exit thread_left_exit(void)
{
	pr_info("exit\n");
}

module_init(thread_left_init);
module_exit(thread_left_exit);
