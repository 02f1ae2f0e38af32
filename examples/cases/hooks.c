// SPDX-License-Identifier: GPL-2.0-only
/* Lets other modules register functions and objects. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/list.h>
#include <linux/module.h>
#include <linux/notifier.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("others register here");

void hooks_set(void (*function)(void));
void hooks_add(struct list_head *node);
int hooks_hear(struct notifier_block *block);
int hooks_ignore(struct notifier_block *block);

static void (*hook)(void);
static LIST_HEAD(nodes);
static BLOCKING_NOTIFIER_HEAD(chain);

void hooks_set(void (*function)(void))
{
	WRITE_ONCE(hook, function);
}
EXPORT_SYMBOL_GPL(hooks_set);

void hooks_add(struct list_head *node)
{
	list_add(node, &nodes);
}
EXPORT_SYMBOL_GPL(hooks_add);

int hooks_hear(struct notifier_block *block)
{
	return blocking_notifier_chain_register(&chain, block);
}
EXPORT_SYMBOL_GPL(hooks_hear);

int hooks_ignore(struct notifier_block *block)
{
	return blocking_notifier_chain_unregister(&chain, block);
}
EXPORT_SYMBOL_GPL(hooks_ignore);

static int __init hooks_init(void)
{
	return 0;
}

static void __exit hooks_exit(void)
{
	if (READ_ONCE(hook))
		pr_info("a hook is left\n");
}

module_init(hooks_init);
module_exit(hooks_exit);
