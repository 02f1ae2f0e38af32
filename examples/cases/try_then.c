// SPDX-License-Identifier: GPL-2.0-only
/* try_then_request_module(): look, ask, look again. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kmod.h>
#include <linux/module.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("looks a symbol up, on demand");

static char *symbol = "exporter_gpl";
module_param(symbol, charp, 0);
static char *provider = "exporter";
module_param(provider, charp, 0);

static void *look(void)
{
	void *found = __symbol_get(symbol);

	pr_info("%s is %s\n", symbol, found ? "there" : "not there");
	return found;
}

static int __init try_then_init(void)
{
	int (*function)(void) = try_then_request_module(look(), "%s", provider);

	if (!function)
		return -ENOENT;
	pr_info("%s() returned %d\n", symbol, function());
	return 0;
}

static void __exit try_then_exit(void)
{
	__symbol_put(symbol);
	pr_info("put %s\n", symbol);
}

module_init(try_then_init);
module_exit(try_then_exit);
