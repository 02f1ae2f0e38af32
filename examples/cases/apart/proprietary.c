// SPDX-License-Identifier: GPL-2.0-only
/* Declares itself proprietary and uses a symbol that is exported to GPL modules only. */
#include <linux/module.h>

MODULE_LICENSE("Proprietary");
MODULE_DESCRIPTION("must not have a GPL-only symbol");

extern int exporter_gpl(void);

static int __init proprietary_init(void)
{
	return exporter_gpl() < 0;
}

static void __exit proprietary_exit(void)
{
}

module_init(proprietary_init);
module_exit(proprietary_exit);
