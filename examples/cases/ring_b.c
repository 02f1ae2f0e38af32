// SPDX-License-Identifier: GPL-2.0-only
/* Asks for ring_a in its init, which asks for ring_b. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kmod.h>
#include <linux/module.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("half of a ring of requests");

static int __init ring_b_init(void)
{
	pr_info("asks for ring_a\n");
	pr_info("request_module(\"ring_a\") returned %d\n", request_module("ring_a"));
	return 0;
}

static void __exit ring_b_exit(void)
{
}

module_init(ring_b_init);
module_exit(ring_b_exit);
