// SPDX-License-Identifier: GPL-2.0-only
/* Asks for ring_b in its init, which asks for ring_a. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kmod.h>
#include <linux/module.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("half of a ring of requests");

static int __init ring_a_init(void)
{
	pr_info("asks for ring_b\n");
	pr_info("request_module(\"ring_b\") returned %d\n", request_module("ring_b"));
	return 0;
}

static void __exit ring_a_exit(void)
{
}

module_init(ring_a_init);
module_exit(ring_a_exit);
