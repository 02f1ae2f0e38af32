// SPDX-License-Identifier: GPL-2.0-only
/* Follows every module's states through the module notifier chain. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/notifier.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("prints COMING, LIVE and GOING");

static char *refuse = "";		/* the module whose coming is refused */
module_param(refuse, charp, 0);

static const char *state_name(unsigned long state)
{
	switch (state) {
	case MODULE_STATE_LIVE:
		return "LIVE";
	case MODULE_STATE_COMING:
		return "COMING";
	case MODULE_STATE_GOING:
		return "GOING";
	case MODULE_STATE_UNFORMED:
		return "UNFORMED";
	}
	return "?";
}

static int changed(struct notifier_block *block, unsigned long state, void *data)
{
	struct module *mod = data;

	pr_info("%s is %s (state field %s, refcount %d)\n", mod->name, state_name(state),
		state_name(mod->state), module_refcount(mod));
	if (state == MODULE_STATE_COMING && !strcmp(mod->name, refuse))
		return notifier_from_errno(-EPERM);
	return NOTIFY_OK;
}

static struct notifier_block block = { .notifier_call = changed };

static int __init notifier_init(void)
{
	return register_module_notifier(&block);
}

static void __exit notifier_exit(void)
{
	unregister_module_notifier(&block);
	pr_info("exit\n");
}

module_init(notifier_init);
module_exit(notifier_exit);
