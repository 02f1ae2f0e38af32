// SPDX-License-Identifier: GPL-2.0-only
/* A notifier block that is registered twice, and one that never was. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/notifier.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("registers a notifier twice");

static int changed(struct notifier_block *block, unsigned long state, void *data)
{
	pr_info("%s: state %lu\n", ((struct module *)data)->name, state);
	return NOTIFY_DONE;
}

static struct notifier_block block = { .notifier_call = changed };
static struct notifier_block other = { .notifier_call = changed, .priority = 1 };
static struct notifier_block never = { .notifier_call = changed };
static BLOCKING_NOTIFIER_HEAD(chain);
static ATOMIC_NOTIFIER_HEAD(atomic_chain);
static RAW_NOTIFIER_HEAD(raw_chain);

static int __init notified_twice_init(void)
{
	pr_info("the first: %d\n", register_module_notifier(&block));
	pr_info("again: %d\n", register_module_notifier(&block));
	pr_info("another with the same function: %d\n", register_module_notifier(&other));
	pr_info("one that never was: %d\n", unregister_module_notifier(&never));
	pr_info("a chain: %d\n", blocking_notifier_chain_register(&chain, &never));
	pr_info("the chain again: %d\n", blocking_notifier_chain_register(&chain, &never));
	blocking_notifier_chain_unregister(&chain, &never);
	pr_info("an atomic chain: %d\n", atomic_notifier_chain_register(&atomic_chain, &never));
	pr_info("the atomic chain again: %d\n", atomic_notifier_chain_register(&atomic_chain, &never));
	pr_info("with priority: %d\n", atomic_notifier_chain_register_unique_prio(&atomic_chain, &never));
	atomic_notifier_chain_unregister(&atomic_chain, &never);
	pr_info("a raw chain: %d\n", raw_notifier_chain_register(&raw_chain, &never));
	pr_info("the raw chain again: %d\n", raw_notifier_chain_register(&raw_chain, &never));
	return 0;
}

static void __exit notified_twice_exit(void)
{
	pr_info("the other: %d\n", unregister_module_notifier(&other));
	pr_info("the first: %d\n", unregister_module_notifier(&block));
	pr_info("again: %d\n", unregister_module_notifier(&block));
}

module_init(notified_twice_init);
module_exit(notified_twice_exit);
