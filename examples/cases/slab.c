// SPDX-License-Identifier: GPL-2.0-only
/* The allocator, used well and badly. Bad uses: leak, double_free, use_after_free, cache_busy, overflow. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("kmalloc and kfree");

static char *part = "good";
module_param(part, charp, 0);

static struct kmem_cache *cache;
static void *object;

static void constructed(void *p)
{
	memset(p, 0x5a, 40);
}

static void good(void)
{
	char *p = kmalloc(100, GFP_KERNEL), *q;
	u8 *r;

	pr_info("kmalloc(100): %d, ksize %zu\n", !!p, ksize(p));
	strcpy(p, "kept by krealloc");
	p = krealloc(p, 1000, GFP_KERNEL);
	pr_info("%s, ksize %zu\n", p, ksize(p));
	kfree(p);

	q = kstrdup("a string", GFP_KERNEL);
	pr_info("kstrdup: %s\n", q);
	kfree(q);
	q = kasprintf(GFP_KERNEL, "%s-%d", "made", 42);
	pr_info("kasprintf: %s\n", q);
	kfree(q);
	q = kstrndup("abcdef", 3, GFP_KERNEL);
	pr_info("kstrndup: %s\n", q);
	kfree(q);
	r = kmemdup("\x01\x02\x03", 3, GFP_KERNEL);
	pr_info("kmemdup: %*ph\n", 3, r);
	kfree(r);
	r = kzalloc(64, GFP_KERNEL);
	pr_info("kzalloc: %p is zero %d\n", NULL, !memchr_inv(r, 0, 64));
	kfree_sensitive(r);
	kfree(NULL);
	pr_info("kmalloc(0) is ZERO_SIZE_PTR: %d\n", (q = kmalloc(0, GFP_KERNEL)) == ZERO_SIZE_PTR);
	kfree(q);
	pr_info("kcalloc that overflows: %d\n", !!kcalloc(SIZE_MAX / 2, 4, GFP_KERNEL));
	pr_info("kmalloc too large, no warning: %d\n", !!kmalloc(64UL << 20, GFP_KERNEL | __GFP_NOWARN));

	q = vmalloc(3 * PAGE_SIZE);
	memset(q, 1, 3 * PAGE_SIZE);
	pr_info("vmalloc: %d, is_vmalloc_addr %d\n", !!q, is_vmalloc_addr(q));
	vfree(q);
	q = kvmalloc(8 << 20, GFP_KERNEL);
	pr_info("kvmalloc(8 MB): is_vmalloc_addr %d\n", is_vmalloc_addr(q));
	kvfree(q);

	cache = kmem_cache_create("cases_objects", 40, 0, 0, constructed);
	r = kmem_cache_alloc(cache, GFP_KERNEL);
	pr_info("kmem_cache_alloc: size %u, first bytes %*ph\n", kmem_cache_size(cache), 4, r);
	kmem_cache_free(cache, r);
	kmem_cache_destroy(cache);
}

static int __init slab_init(void)
{
	char *volatile p;

	if (!strcmp(part, "good")) {
		good();
	} else if (!strcmp(part, "leak")) {
		p = kmalloc(128, GFP_KERNEL);
		pr_info("leaks 128 bytes: %d\n", !!p);
	} else if (!strcmp(part, "double_free")) {
		p = kmalloc(128, GFP_KERNEL);
		kfree(p);
		pr_info("frees again\n");
		kfree(p);
		pr_info("survived\n");
	} else if (!strcmp(part, "use_after_free")) {
		p = kmalloc(128, GFP_KERNEL);
		kfree(p);
		p[0] = 1;
		pr_info("wrote after free\n");
	} else if (!strcmp(part, "overflow")) {
		p = kmalloc(100, GFP_KERNEL);
		p[110] = 1;
		pr_info("wrote past 100 bytes, inside the object of 128\n");
		kfree(p);
	} else if (!strcmp(part, "cache_busy")) {
		cache = kmem_cache_create("cases_busy", 40, 0, 0, NULL);
		object = kmem_cache_alloc(cache, GFP_KERNEL);
	} else if (!strcmp(part, "too_large")) {
		pr_info("kmalloc(64 MB): %d\n", !!kmalloc(64UL << 20, GFP_KERNEL));
	}
	return 0;
}

static void __exit slab_exit(void)
{
	if (!strcmp(part, "cache_busy")) {
		kmem_cache_destroy(cache);
		pr_info("destroyed a cache with an object in it\n");
	}
}

module_init(slab_init);
module_exit(slab_exit);
