// SPDX-License-Identifier: GPL-2.0-only
/* The module that simply loads: what others ask for. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("loads and unloads");
MODULE_ALIAS("ok-alias-*");

static int x;
module_param(x, int, 0644);

static int __init ok_dep_init(void)
{
	pr_info("init, x=%d\n", x);
	return 0;
}

static void __exit ok_dep_exit(void)
{
	pr_info("exit\n");
}

module_init(ok_dep_init);
module_exit(ok_dep_exit);
