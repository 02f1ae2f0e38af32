// SPDX-License-Identifier: GPL-2.0-only
/* Its init never returns and never sleeps. */
#include <linux/module.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("loops for ever");

static volatile int stop;

static int __init endless_init(void)
{
	while (!stop)
		cpu_relax();
	return 0;
}

module_init(endless_init);
