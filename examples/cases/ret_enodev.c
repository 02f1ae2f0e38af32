// SPDX-License-Identifier: GPL-2.0-only
/* Its init returns what it is told: -ENODEV unless ret= is given. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("init fails");

static int ret = -ENODEV;
module_param(ret, int, 0);

static int __init ret_enodev_init(void)
{
	pr_info("init returns %d\n", ret);
	return ret;
}

static void __exit ret_enodev_exit(void)
{
	pr_info("exit\n");
}

module_init(ret_enodev_init);
module_exit(ret_enodev_exit);
