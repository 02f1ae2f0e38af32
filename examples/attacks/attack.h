/* SPDX-License-Identifier: GPL-2.0-only */
/* Each attack is a parameter of its module; setting it runs the attack. modinfo -p lists them, and how they end. */
#ifndef ATTACK_H
#define ATTACK_H

#include <linux/io.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

/* name is a function of value, the parameter's text. ends: how, in the words of tests/attacks/attempt.py. */
#define ATTACK(name, ends)								\
	static int name(const char *value, const struct kernel_param *kp);		\
	static const struct kernel_param_ops name##_ops = { .set = name };		\
	module_param_cb(name, &name##_ops, NULL, 0);					\
	MODULE_PARM_DESC(name, ends);							\
	static noinline int name(const char *value, const struct kernel_param *kp)

#define NOT_CANONICAL	0x8000000000000000UL
#define USER		0x400000UL
#define UNMAPPED	0xffffa00012345000UL
#define STUBS		0xffffffffbe000000UL	/* the code that connects guest and Python */
#define FRAME		(STUBS - 0x1000)	/* the trap frame */
#define RESUME		(STUBS + 0x80)
#define ENTER		(STUBS + 0x100)

/* A pointer of which the compiler knows nothing: FORTIFY_SOURCE would find the attack at compile time. */
#define UNKNOWN(pointer) ({ void *at = (void *)(pointer); asm("" : "+r" (at)); at; })

/* A physical page, mapped where it can be written. */
static inline void *physical(unsigned long at)
{
	struct page *page = pfn_to_page(at >> PAGE_SHIFT);
	void *mapped = vmap(&page, 1, VM_MAP, PAGE_KERNEL);

	return mapped ? mapped + offset_in_page(at) : NULL;
}

static inline unsigned long root(void)
{
	unsigned long cr3;

	asm volatile("mov %%cr3,%0" : "=r" (cr3));
	return cr3 & PAGE_MASK;
}

static inline void set_root(unsigned long at)
{
	asm volatile("mov %0,%%cr3" : : "r" (at) : "memory");
}

/* The page table entry of an address at a level, 4 for the root's; NULL if a table above it is absent. */
static inline unsigned long *entry_of(unsigned long address, int level)
{
	unsigned long table = root(), *entry = NULL;
	int at;

	for (at = 4; at >= level; at--) {
		unsigned long *mapped = physical(table);

		if (!mapped)
			return NULL;
		entry = mapped + (address >> (12 + 9 * (at - 1)) & 511);
		if (at > level && !(*entry & 1))
			return NULL;
		table = *entry & 0x000ffffffffff000UL;
	}
	return entry;
}

MODULE_LICENSE("GPL");

#endif
