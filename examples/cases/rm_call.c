// SPDX-License-Identifier: GPL-2.0-only
/*
 * Calls request_module(), or request_module_nowait(), from its init and says what that returned;
 * and again for each name written to /sys/module/rm_call/parameters/ask.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kmod.h>
#include <linux/module.h>
#include <linux/string.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("says what request_module() returned");

static char *name = "nobody";
module_param(name, charp, 0);
static bool nowait;
module_param(nowait, bool, 0);
static int times = 1;
module_param(times, int, 0);

static int ask(const char *module)
{
	int ret = nowait ? request_module_nowait("%s", module) : request_module("%s", module);

	pr_info("request_module%s(\"%s\") returned %d\n", nowait ? "_nowait" : "", module, ret);
	return ret;
}

static int set_ask(const char *val, const struct kernel_param *kp)
{
	char module[100];

	strscpy(module, val, sizeof(module));
	ask(strim(module));
	return 0;
}

static const struct kernel_param_ops ask_ops = { .set = set_ask };
module_param_cb(ask, &ask_ops, NULL, 0200);

static int __init rm_call_init(void)
{
	while (times-- > 0)
		ask(name);
	return 0;
}

static void __exit rm_call_exit(void)
{
}

module_init(rm_call_init);
module_exit(rm_call_exit);
