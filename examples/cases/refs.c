// SPDX-License-Identifier: GPL-2.0-only
/* Takes references on itself. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("counts references");

static int hold;

/* hold= is how many references it has; written through /sys/module/refs/parameters/hold. */
static int set_hold(const char *val, const struct kernel_param *kp)
{
	int old = hold, ret = param_set_int(val, kp);

	for (; !ret && old < hold; old++)
		pr_info("try_module_get() returned %d\n", try_module_get(THIS_MODULE));
	for (; !ret && old > hold; old--)
		module_put(THIS_MODULE);
	pr_info("refcount %d\n", module_refcount(THIS_MODULE));
	return ret;
}

static const struct kernel_param_ops hold_ops = { .set = set_hold, .get = param_get_int };
module_param_cb(hold, &hold_ops, &hold, 0644);

static int __init refs_init(void)
{
	pr_info("init, refcount %d\n", module_refcount(THIS_MODULE));
	return 0;
}

static void __exit refs_exit(void)
{
	pr_info("exit, refcount %d\n", module_refcount(THIS_MODULE));
}

module_init(refs_init);
module_exit(refs_exit);
