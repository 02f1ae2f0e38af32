// SPDX-License-Identifier: GPL-2.0-only
/* Does one thing wrong, to show how ukmod reports it: fault=use_after_free, overflow, leak, null_pointer or timer. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("does one thing wrong");

static char *fault = "";
module_param(fault, charp, 0444);
MODULE_PARM_DESC(fault, "use_after_free, overflow, leak, null_pointer or timer");

static int __init faults_init(void)
{
	char *volatile p = kmalloc(100, GFP_KERNEL);

	if (!p)
		return -ENOMEM;
	if (!strcmp(fault, "leak"))
		return 0;
	if (!strcmp(fault, "overflow"))
		p[100] = 1;
	kfree(p);
	if (!strcmp(fault, "use_after_free"))
		p[0] = 1;
	if (!strcmp(fault, "null_pointer")) {
		p = NULL;
		p[0] = 1;
	}
	return 0;
}

static void ring(struct timer_list *unused)
{
	pr_info("rings\n");
}
static DEFINE_TIMER(bell, ring);

static void __exit faults_exit(void)
{
	if (!strcmp(fault, "timer"))
		mod_timer(&bell, jiffies + HZ);
}

module_init(faults_init);
module_exit(faults_exit);
