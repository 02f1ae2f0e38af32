// SPDX-License-Identifier: GPL-2.0-only
/* Allocations that the kernel refuses, each in its own words. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("vmalloc() and alloc_pages() with strange sizes");

static char *part = "vmalloc";
module_param(part, charp, 0);

static const char *kind(const void *pointer)
{
	if (ZERO_OR_NULL_PTR(pointer))
		return pointer ? "ZERO_SIZE_PTR" : "NULL";
	return "memory";
}

static void vmallocs(void)
{
	pr_info("vzalloc(0): %s\n", kind(vzalloc(0)));
	pr_info("vmalloc(0): %s\n", kind(vmalloc(0)));
	pr_info("vmalloc_user(0): %s\n", kind(vmalloc_user(0)));
	pr_info("vmalloc(1 << 40): %s\n", kind(vmalloc(1UL << 40)));
	pr_info("vmalloc(-1): %s\n", kind(vmalloc(-1UL)));
	pr_info("vmalloc(1 << 40) once more: %s\n", kind(__vmalloc(1UL << 40, GFP_KERNEL | __GFP_NOWARN)));
	pr_info("kvmalloc(0): %s\n", kind(kvmalloc(0, GFP_KERNEL)));
	pr_info("kvmalloc(1 << 33): %s\n", kind(kvmalloc(1UL << 33, GFP_KERNEL)));
	pr_info("kvmalloc_array(): %s\n", kind(kvmalloc_array(1UL << 33, 1UL << 33, GFP_KERNEL)));
}

static void pages(void)
{
	pr_info("order 11: %s\n", kind(alloc_pages(GFP_KERNEL, MAX_ORDER)));
	pr_info("order 11 again: %s\n", kind(alloc_pages(GFP_KERNEL, MAX_ORDER)));
	pr_info("exactly nothing: %s\n", kind(alloc_pages_exact(0, GFP_KERNEL)));
	pr_info("kmalloc(8 MiB): %s\n", kind(kmalloc(8 << 20, GFP_KERNEL)));
	pr_info("kcalloc(): %s\n", kind(kcalloc(1UL << 33, 1UL << 33, GFP_KERNEL)));
	free_page(0);
	vfree(NULL);
	kvfree(NULL);
	kfree(ZERO_SIZE_PTR);
}

static int __init refused_init(void)
{
	if (!strcmp(part, "vmalloc"))
		vmallocs();
	else
		pages();
	return 0;
}

static void __exit refused_exit(void)
{
}

module_init(refused_init);
module_exit(refused_exit);
