// SPDX-License-Identifier: GPL-2.0-only
/* Uses every symbol of exporter, as it should be done. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("uses another module's symbols");
MODULE_IMPORT_NS(UKMOD_CASES);

extern int exporter_plain(void), exporter_gpl(void), exporter_ns(void);

static int __init uses_exporter_init(void)
{
	pr_info("sum is %d\n", exporter_plain() + exporter_gpl() + exporter_ns());
	return 0;
}

static void __exit uses_exporter_exit(void)
{
	pr_info("exit\n");
}

module_init(uses_exporter_init);
module_exit(uses_exporter_exit);
