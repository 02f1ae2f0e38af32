// SPDX-License-Identifier: GPL-2.0-only
/* call_usermodehelper() in each of its ways to wait, with both callbacks. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cred.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/umh.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("runs a usermode helper");

static char *path = "/sbin/helper";
module_param(path, charp, 0);
static int wait = UMH_WAIT_PROC;
module_param(wait, int, 0);
static int init_ret;
module_param(init_ret, int, 0);
static bool plain;			/* call_usermodehelper(), without callbacks */
module_param(plain, bool, 0);

static char *argv[] = { NULL, "first", "a second", NULL };
static char *envp[] = { "HOME=/root", "PATH=/sbin:/bin", NULL };

static int before(struct subprocess_info *info, struct cred *new)
{
	pr_info("init callback: uid %u, retval %d, data \"%s\"\n", __kuid_val(new->uid), info->retval,
		(char *)info->data);
	return init_ret;
}

static void after(struct subprocess_info *info)
{
	pr_info("cleanup callback: retval %d\n", info->retval);
	kfree(info->data);
}

static int __init umh_call_init(void)
{
	struct subprocess_info *info;
	int ret;

	argv[0] = path;
	if (plain) {
		ret = call_usermodehelper(path, argv, envp, wait);
	} else {
		info = call_usermodehelper_setup(path, argv, envp, GFP_KERNEL, before, after,
						 kstrdup("ours", GFP_KERNEL));
		if (!info)
			return -ENOMEM;
		ret = call_usermodehelper_exec(info, wait);
	}
	pr_info("wait=%d returned %d\n", wait, ret);
	return 0;
}

static void __exit umh_call_exit(void)
{
}

module_init(umh_call_init);
module_exit(umh_call_exit);
