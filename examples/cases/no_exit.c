// SPDX-License-Identifier: GPL-2.0-only
/* Has an init and no exit: it can never be unloaded. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("permanent");

static int __init no_exit_init(void)
{
	pr_info("here to stay\n");
	return 0;
}

module_init(no_exit_init);
