// SPDX-License-Identifier: GPL-2.0-only
/* Declares itself proprietary and uses only what it may. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>

MODULE_LICENSE("Proprietary");
MODULE_DESCRIPTION("taints the kernel");

extern int exporter_plain(void);

static int __init proprietary_alone_init(void)
{
	pr_info("exporter_plain() returned %d\n", exporter_plain());
	return 0;
}

static void __exit proprietary_alone_exit(void)
{
}

module_init(proprietary_alone_init);
module_exit(proprietary_alone_exit);
