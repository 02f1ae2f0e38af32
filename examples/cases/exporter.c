// SPDX-License-Identifier: GPL-2.0-only
/* Exports a symbol of each kind, and may take its time in init, or request a module there. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/kmod.h>
#include <linux/module.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("exports");

static int init_ms;
module_param(init_ms, int, 0);
static int ret;
module_param(ret, int, 0);
static char *request;
module_param(request, charp, 0);

int exporter_plain(void)
{
	pr_info("exporter_plain() called\n");
	return 1;
}
EXPORT_SYMBOL(exporter_plain);

int exporter_gpl(void)
{
	pr_info("exporter_gpl() called\n");
	return 2;
}
EXPORT_SYMBOL_GPL(exporter_gpl);

int exporter_ns(void)
{
	pr_info("exporter_ns() called\n");
	return 3;
}
EXPORT_SYMBOL_NS(exporter_ns, UKMOD_CASES);

int exporter_unlisted(void)
{
	return 4;
}
EXPORT_SYMBOL(exporter_unlisted);

static int __init exporter_init(void)
{
	pr_info("init begins\n");
	msleep(init_ms);
	if (request)
		pr_info("request_module(\"%s\") returned %d\n", request, request_module("%s", request));
	pr_info("init ends, returns %d\n", ret);
	return ret;
}

static void __exit exporter_exit(void)
{
	pr_info("exit\n");
}

module_init(exporter_init);
module_exit(exporter_exit);
