// SPDX-License-Identifier: GPL-2.0
/* A live patch of a function of the kernel, which it calls before and after. */
#include <linux/cred.h>
#include <linux/delay.h>
#include <linux/livepatch.h>
#include <linux/module.h>

static int patched_in_egroup_p(kgid_t group)
{
	return 4711;
}

static struct klp_func functions[] = {
	{ .old_name = "in_egroup_p", .new_func = patched_in_egroup_p },
	{ }
};
static struct klp_object objects[] = { { .funcs = functions }, { } };
static struct klp_patch patch = { .mod = THIS_MODULE, .objs = objects };

static int __init patch_init(void)
{
	int err;

	pr_info("patch: %d\n", in_egroup_p(GLOBAL_ROOT_GID));
	err = klp_enable_patch(&patch);
	if (err)
		return err;
	msleep(3000);
	pr_info("patch: %d\n", in_egroup_p(GLOBAL_ROOT_GID));
	return 0;
}

static void __exit patch_exit(void)
{
}

module_init(patch_init);
module_exit(patch_exit);
MODULE_DESCRIPTION("A live patch of in_egroup_p()");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
