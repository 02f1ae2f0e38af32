// SPDX-License-Identifier: GPL-2.0-only
/* Asynchronous function calls, where they meet the module loader: it waits for them before a module is live and
 * before one is freed, and a request from one of them is warned of.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/async.h>
#include <linux/kmod.h>
#include <linux/delay.h>
#include <linux/device.h>


static char *what = "order";
module_param(what, charp, 0444);

static ASYNC_DOMAIN_EXCLUSIVE(own);

static void slow(void *data, async_cookie_t cookie)
{
	unsigned long ms = (unsigned long)data;

	msleep(ms);
	pr_info("slow: %lu ms, async %d\n", ms, current_is_async());
}

static void request(void *data, async_cookie_t cookie)
{
	pr_info("request: %d\n", request_module("no-such-module"));
}

static void request_nowait(void *data, async_cookie_t cookie)
{
	pr_info("request_nowait: %d\n", request_module_nowait("no-such-module"));
}

static int __init async_calls_init(void)
{
	async_cookie_t first, second;

	pr_info("init: async %d\n", current_is_async());
	if (!strcmp(what, "order")) {
		first = async_schedule(slow, (void *)300);
		second = async_schedule(slow, (void *)100);
		pr_info("cookies differ by %llu\n", second - first);
		async_synchronize_cookie(second);
		pr_info("the first has run\n");
		async_synchronize_full();
		pr_info("both have run\n");
	} else if (!strcmp(what, "domain")) {
		async_schedule_domain(slow, (void *)200, &own);
		async_synchronize_full();
		pr_info("an exclusive domain is not waited for\n");
		async_synchronize_full_domain(&own);
		pr_info("it has run\n");
	} else if (!strcmp(what, "init")) {
		async_schedule(slow, (void *)200);
	} else if (!strcmp(what, "request")) {
		async_schedule(request, NULL);
	} else if (!strcmp(what, "request_nowait")) {
		async_schedule(request_nowait, NULL);
	}
	pr_info("init returns\n");
	return 0;
}

static void __exit async_calls_exit(void)
{
	if (!strcmp(what, "init"))
		async_schedule(slow, (void *)200);
	pr_info("exit returns\n");
}

module_init(async_calls_init);
module_exit(async_calls_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Asynchronous function calls");
