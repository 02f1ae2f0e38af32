// SPDX-License-Identifier: GPL-2.0-only
/* Calls request_module(), or request_module_nowait(), from its init and says what that returned. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kmod.h>
#include <linux/module.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("says what request_module() returned");

static char *name = "nobody";
module_param(name, charp, 0);
static bool nowait;
module_param(nowait, bool, 0);
static int times = 1;
module_param(times, int, 0);

static int __init rm_call_init(void)
{
	int ret;

	while (times-- > 0) {
		ret = nowait ? request_module_nowait("%s", name) : request_module("%s", name);
		pr_info("request_module%s(\"%s\") returned %d\n", nowait ? "_nowait" : "", name, ret);
	}
	return 0;
}

static void __exit rm_call_exit(void)
{
}

module_init(rm_call_init);
module_exit(rm_call_exit);
