// SPDX-License-Identifier: GPL-2.0-only
/* Uses a symbol of a namespace that it does not import. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("a namespace not imported");

extern int exporter_ns(void);

static int __init no_import_init(void)
{
	pr_info("exporter_ns() returned %d\n", exporter_ns());
	return 0;
}

static void __exit no_import_exit(void)
{
}

module_init(no_import_init);
module_exit(no_import_exit);
