// SPDX-License-Identifier: GPL-2.0-only
/* symbol_get(), symbol_put(), __symbol_put_addr(): which symbols, and who holds whom. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kmod.h>
#include <linux/module.h>
#include <linux/string.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("gets and puts symbols by name");

/* A value without the newline that a shell adds. */
static const char *name_of(const char *val)
{
	static char name[64];

	strscpy(name, val, sizeof(name));
	return strim(name);
}

static int set_get(const char *val, const struct kernel_param *kp)
{
	const char *name = name_of(val);

	pr_info("__symbol_get(\"%s\"): %s\n", name, __symbol_get(name) ? "found" : "not found");
	return 0;
}

static int set_put(const char *val, const struct kernel_param *kp)
{
	const char *name = name_of(val);

	__symbol_put(name);
	pr_info("__symbol_put(\"%s\")\n", name);
	return 0;
}

static int set_put_address(const char *val, const struct kernel_param *kp)
{
	const char *name = name_of(val);
	void *found = __symbol_get(name);

	pr_info("%s: %s\n", name, found ? "found" : "not found");
	if (found)
		symbol_put_addr(found);
	return 0;
}

static const struct kernel_param_ops get_ops = { .set = set_get };
static const struct kernel_param_ops put_ops = { .set = set_put };
static const struct kernel_param_ops put_address_ops = { .set = set_put_address };

module_param_cb(get, &get_ops, NULL, 0200);
module_param_cb(put, &put_ops, NULL, 0200);
module_param_cb(put_address, &put_address_ops, NULL, 0200);

static int __init symbol_user_init(void)
{
	return 0;
}

static void __exit symbol_user_exit(void)
{
}

module_init(symbol_user_init);
module_exit(symbol_user_exit);
