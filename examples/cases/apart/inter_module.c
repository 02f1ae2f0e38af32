// SPDX-License-Identifier: GPL-2.0-only
/* The inter_module_* functions, which left the kernel in 2.6: a registry of data by name. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("shares data by name");

extern void inter_module_register(const char *name, struct module *owner, const void *data);
extern void inter_module_unregister(const char *name);
extern const void *inter_module_get(const char *name);
extern const void *inter_module_get_request(const char *name, const char *module);
extern void inter_module_put(const char *name);

static const int data = 42;

static int __init inter_module_init(void)
{
	const int *found;

	inter_module_register("cases", THIS_MODULE, &data);
	found = inter_module_get("cases");
	pr_info("got %d, refcount %d\n", found ? *found : -1, module_refcount(THIS_MODULE));
	inter_module_put("cases");
	pr_info("put, refcount %d\n", module_refcount(THIS_MODULE));
	pr_info("not there: %d\n", !!inter_module_get("nobody"));
	pr_info("not there after a request: %d\n", !!inter_module_get_request("nobody", "ok_dep"));
	return 0;
}

static void __exit inter_module_exit(void)
{
	inter_module_unregister("cases");
	pr_info("exit\n");
}

module_init(inter_module_init);
module_exit(inter_module_exit);
