// SPDX-License-Identifier: GPL-2.0
/* A module whose function patch_later replaces, as soon as both are loaded. */
#include <linux/module.h>

static __attribute__((noipa)) int later_answer(void)
{
	return 42;
}

static int __init later_init(void)
{
	pr_info("later: %d\n", later_answer());
	return 0;
}

static void __exit later_exit(void)
{
	pr_info("later: %d at the end\n", later_answer());
}

module_init(later_init);
module_exit(later_exit);
MODULE_DESCRIPTION("A module to be patched");
MODULE_LICENSE("GPL");
