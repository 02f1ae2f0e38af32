// SPDX-License-Identifier: GPL-2.0-only
/* Uses an exported symbol without knowing its version: modpost was not told of it. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("no symbol version");

extern int exporter_unlisted(void);

static int __init unversioned_init(void)
{
	pr_info("exporter_unlisted() returned %d\n", exporter_unlisted());
	return 0;
}

static void __exit unversioned_exit(void)
{
}

module_init(unversioned_init);
module_exit(unversioned_exit);
