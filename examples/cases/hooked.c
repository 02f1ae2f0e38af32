// SPDX-License-Identifier: GPL-2.0-only
/* Registers one thing with the module hooks and forgets it, or with tidy=1 takes it back. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/list.h>
#include <linux/module.h>
#include <linux/notifier.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("registers with another module");

void hooks_set(void (*function)(void));
void hooks_add(struct list_head *node);
int hooks_hear(struct notifier_block *block);
int hooks_ignore(struct notifier_block *block);

static char *what = "";
module_param(what, charp, 0444);
MODULE_PARM_DESC(what, "function, node or notifier");
static bool tidy;
module_param(tidy, bool, 0444);
MODULE_PARM_DESC(tidy, "leave nothing behind");

#define IS(name) (!strcmp(what, name))

static void called(void)
{
	pr_info("called\n");
}
static LIST_HEAD(node);

static int hear(struct notifier_block *unused, unsigned long action, void *data)
{
	return NOTIFY_OK;
}
static struct notifier_block ear = { .notifier_call = hear };

static int __init hooked_init(void)
{
	if (IS("function"))
		hooks_set(called);
	if (IS("node"))
		hooks_add(&node);
	return IS("notifier") ? hooks_hear(&ear) : 0;
}

static void __exit hooked_exit(void)
{
	if (!tidy)
		return;
	if (IS("function"))
		hooks_set(NULL);
	if (IS("node"))
		list_del(&node);
	if (IS("notifier"))
		hooks_ignore(&ear);
}

module_init(hooked_init);
module_exit(hooked_exit);
