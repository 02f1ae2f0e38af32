// SPDX-License-Identifier: GPL-2.0
/* A live patch of a module that is loaded before or after it. refuse=1: its callback refuses the module. */
#include <linux/livepatch.h>
#include <linux/module.h>

static bool refuse;
module_param(refuse, bool, 0);

static const char *of(struct klp_object *object)
{
	return object->mod ? object->mod->name : "vmlinux";
}

static int pre_patch(struct klp_object *object)
{
	pr_info("patch_later: before %s is patched\n", of(object));
	return refuse ? -EBUSY : 0;
}

static void post_patch(struct klp_object *object)
{
	pr_info("patch_later: %s is patched\n", of(object));
}

static void pre_unpatch(struct klp_object *object)
{
	pr_info("patch_later: before %s is unpatched\n", of(object));
}

static void post_unpatch(struct klp_object *object)
{
	pr_info("patch_later: %s is unpatched\n", of(object));
}

static int patched_answer(void)
{
	return 4711;
}

static struct klp_func functions[] = {
	{ .old_name = "later_answer", .new_func = patched_answer },
	{ }
};
static struct klp_object objects[] = {
	{
		.name = "later",
		.funcs = functions,
		.callbacks = {
			.pre_patch = pre_patch,
			.post_patch = post_patch,
			.pre_unpatch = pre_unpatch,
			.post_unpatch = post_unpatch,
		},
	},
	{ }
};
static struct klp_patch patch = { .mod = THIS_MODULE, .objs = objects };

static int __init patch_later_init(void)
{
	return klp_enable_patch(&patch);
}

static void __exit patch_later_exit(void)
{
}

module_init(patch_later_init);
module_exit(patch_later_exit);
MODULE_DESCRIPTION("A live patch of a module");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
