// SPDX-License-Identifier: GPL-2.0-only
/* Page tables rewritten, and physical memory reached through them. */
#include "attack.h"

#include <linux/uaccess.h>

#define RAM_END		(1UL << 30)
#define DEVICE		(RAM_END + 0xfee00000UL)	/* where the machine has its devices' pages */
#define FRAME_BITS	0x000ffffffffff000UL

static noinline int alive(const char *what)
{
	char word[16];

	snprintf(word, sizeof(word), "%s", "alive");
	pr_info("%s: %s\n", what, word);
	return 0;
}

static void flush(unsigned long address)
{
	asm volatile("invlpg (%0)" : : "r" (address) : "memory");
}

static void set_entry(unsigned long address, int level, unsigned long value)
{
	unsigned long *entry = entry_of(address, level);

	if (entry)
		*entry = value;
	flush(address);
}

static unsigned long here(void)
{
	return (unsigned long)alive;
}

static unsigned long stack(void)
{
	return (unsigned long)__builtin_frame_address(0);
}

/* One entry, at a level, of what the machine needs. */
#define ENTRY(name, address, level, value, ends) \
	ATTACK(name, ends) { set_entry(address, level, value); return alive(#name); }

#define LEVELS(name, address, value, ends)		\
	ENTRY(name##_4, address, 4, value, ends)	\
	ENTRY(name##_3, address, 3, value, ends)	\
	ENTRY(name##_2, address, 2, value, ends)	\
	ENTRY(name##_1, address, 1, value, ends)

LEVELS(code_absent, here(), 0, "any")
LEVELS(code_outside_of_ram, here(), (1UL << 35) | 3, "any")
LEVELS(code_reserved_bits, here(), FRAME_BITS | 3, "any")
LEVELS(code_large, here(), 0x83, "any")
LEVELS(code_device, here(), DEVICE | 3, "any")
LEVELS(stack_absent, stack(), 0, "any")
LEVELS(stack_device, stack(), DEVICE | 3, "any")
LEVELS(stack_large, stack(), RAM_END | 0x83, "any")
LEVELS(stack_no_write, stack(), *entry_of(stack(), 1) & ~2UL, "any")
LEVELS(stubs_absent, STUBS, 0, "any")
LEVELS(stubs_device, STUBS, DEVICE | 3, "any")
LEVELS(stubs_zeros, STUBS, virt_to_phys((void *)get_zeroed_page(GFP_KERNEL)) | 3, "any")
LEVELS(frame_absent, FRAME, 0, "any")
LEVELS(frame_elsewhere, FRAME, virt_to_phys((void *)get_zeroed_page(GFP_KERNEL)) | 3, "any")
LEVELS(frame_no_write, FRAME, *entry_of(FRAME, 1) & ~2UL, "any")
LEVELS(stack_table_of_itself, stack(), root() | 3, "any")
LEVELS(code_user_half, here(), 7, "any")

ATTACK(root_zeros, "any")
{
	memset(physical(root()) + 2048, 0, 2048);
	set_root(root());
	return alive("zeros");
}

ATTACK(root_ones, "any")
{
	memset(physical(root()) + 2048, 0xff, 2048);
	set_root(root());
	return alive("ones");
}

ATTACK(root_of_itself, "any")
{
	unsigned long *table = physical(root());
	int i;

	for (i = 256; i < 512; i++)
		table[i] = root() | 3;
	set_root(root());
	return alive("itself");
}

ATTACK(root_freed, "any")
{
	__free_pages(pfn_to_page(root() >> PAGE_SHIFT), 0);
	memset((void *)__get_free_page(GFP_KERNEL), 0xff, PAGE_SIZE);
	return alive("freed");
}

ATTACK(every_table_freed, "any")
{
	int level;

	for (level = 4; level; level--) {
		unsigned long *entry = entry_of(stack(), level);

		if (entry)
			__free_pages(pfn_to_page((*entry & FRAME_BITS) >> PAGE_SHIFT), 0);
	}
	for (level = 0; level < 64; level++)
		memset((void *)__get_free_page(GFP_KERNEL), 0x67, PAGE_SIZE);
	return alive("freed");
}

ATTACK(frames_of_stubs_freed, "any")
{
	__free_pages(pfn_to_page((*entry_of(STUBS, 1) & FRAME_BITS) >> PAGE_SHIFT), 0);
	memset((void *)__get_free_page(GFP_KERNEL), 0xf4, PAGE_SIZE);
	return alive("freed");
}

/* -- physical memory under an address of one's own -- */

static unsigned long window;

static volatile u8 *map_window(unsigned long at, unsigned long bits)
{
	window = (unsigned long)vmalloc(PAGE_SIZE * 2);
	set_entry(window, 1, (at & FRAME_BITS) | bits);
	return (volatile u8 *)window;
}

#define WINDOW(name, at, statement, ends)						\
	ATTACK(name, ends)								\
	{										\
		volatile u8 *w = map_window(at, 3);					\
		(void)w;								\
		statement;								\
		return alive(#name);							\
	}

WINDOW(device_read, DEVICE, (void)*(volatile u64 *)w, "any")
WINDOW(device_write, DEVICE, *(volatile u64 *)w = ~0UL, "any")
WINDOW(device_read_across, DEVICE, (void)*(volatile u64 *)(w + 4093), "any")
WINDOW(device_write_across, DEVICE, *(volatile u64 *)(w + 4093) = 1, "any")
WINDOW(device_execute, DEVICE, ((void (*)(void))w)(), "any")
WINDOW(device_exchange, DEVICE, asm volatile("lock xchg %%rax,(%0); lock incq (%0); lock cmpxchg16b 16(%0)" : : "r" (w) \
	: "rax", "rdx", "memory"), "any")
WINDOW(device_copy, DEVICE, memcpy((void *)w, (void *)alive, 4096), "any")
WINDOW(device_copy_from, DEVICE, memcpy((void *)__get_free_page(GFP_KERNEL), (void *)w, 4096), "any")
WINDOW(device_stack, DEVICE, asm volatile("lea 2048(%0),%%rsp; push %%rax; call *%1" : : "r" (w), "r" (here()), "D" ("device") \
	: "memory"), "any")
WINDOW(device_fpu, DEVICE, asm volatile("fxsave (%0); fxrstor (%0)" : : "r" (w) : "memory"), "any")
WINDOW(device_sse, DEVICE, asm volatile("movups (%0),%%xmm0; movups %%xmm0,(%0)" : : "r" (w) : "memory"), "any")
WINDOW(device_printed, DEVICE, pr_info("%s %*ph\n", (char *)w, 64, (void *)w), "any")
WINDOW(device_gdt, DEVICE, ({ struct { u16 limit; u64 base; } __packed p = { 0xffff, (u64)w }; \
	asm volatile("lgdt %0; mov %1,%%ds" : : "m" (p), "r" (0x18)); }), "any")
WINDOW(device_root, DEVICE, set_root(DEVICE), "any")
WINDOW(device_as_a_table, DEVICE, ({ set_entry(UNMAPPED, 4, DEVICE | 3); (void)*(volatile u8 *)UNMAPPED; }), "any")
WINDOW(nothing_read, 1UL << 36, (void)*(volatile u64 *)w, "any")
WINDOW(nothing_write, 1UL << 36, *(volatile u64 *)w = 1, "any")
WINDOW(nothing_execute, 1UL << 36, ((void (*)(void))w)(), "any")
WINDOW(nothing_stack, 1UL << 36, asm volatile("lea 2048(%0),%%rsp; push %%rax; call *%1" : : "r" (w), "r" (here()) : "memory"), "any")
WINDOW(end_of_ram_across, RAM_END - 4096, *(volatile u64 *)(w + 4093) = 1, "any")
WINDOW(behind_ram, RAM_END, memset((void *)w, 0, 4096), "any")
WINDOW(display, 0xb8000, memset((void *)w, 0x41, 4096), "any")
WINDOW(apic, 0xfee00000, memset((void *)w, 0xff, 4096), "any")

WINDOW(stubs_filled_with_halts, *entry_of(STUBS, 1), memset((void *)w, 0xf4, 4096), "any")
WINDOW(stubs_filled_with_returns, *entry_of(STUBS, 1), memset((void *)w, 0xc3, 4096), "any")
WINDOW(stubs_filled_with_loops, *entry_of(STUBS, 1), ({ int i; for (i = 0; i < 4096; i += 2) { w[i] = 0xeb; w[i + 1] = 0xfe; } }), "any")
WINDOW(stubs_filled_with_traps, *entry_of(STUBS, 1), memset((void *)w, 0xcc, 4096), "any")
WINDOW(stubs_filled_with_zeros, *entry_of(STUBS, 1), memset((void *)w, 0, 4096), "any")
WINDOW(stubs_resume_and_resume, *entry_of(STUBS, 1), ({ w[0x80] = 0xeb; w[0x81] = 0xfe; }), "any")
WINDOW(stubs_enter_halts, *entry_of(STUBS, 1), w[0x100] = 0xf4, "any")
WINDOW(stubs_trap_without_frame, *entry_of(STUBS, 1), memset((void *)w, 0x90, 0x7e), "any")
WINDOW(frame_filled_with_ones, *entry_of(FRAME, 1), memset((void *)w, 0xff, 4096), "any")
WINDOW(numbers_of_stubs_changed, *entry_of(STUBS + 0x1000, 1), ({ int i; for (i = 0; i < 4096; i += 16) w[i + 2] ^= 0x55; }), "any")
WINDOW(numbers_of_stubs_huge, *entry_of(STUBS + 0x1000, 1), ({ int i; for (i = 0; i < 4096; i += 16) w[i + 5] = 0xff; }), "any")

/* -- code that changes itself -- */

static unsigned long code_frame(unsigned long at)
{
	return (*entry_of(at, 1) & FRAME_BITS) | offset_in_page(at);
}

asm(".text\n.balign 4096\n"
    "changes: movb $0x90,(%rdi)\n"		/* the byte behind itself, over and over */
    "1: nop\nincl %eax\ncmpl $100000,%eax\njl changes\nret\n"
    "across: movq $-1,(%rdi)\n.skip 4000,0x90\nret\n"
    ".balign 4096\n");
extern char changes[], across[];

static void *alias(void *code)
{
	unsigned long at = (unsigned long)vmalloc(PAGE_SIZE * 2);

	set_entry(at, 1, code_frame((unsigned long)code & PAGE_MASK) | 3);
	return (void *)at + offset_in_page(code);
}

ATTACK(code_changes_itself, "any")
{
	asm volatile("xor %%eax,%%eax; call changes" : : "D" (alias(changes) + 3) : "rax", "memory");
	return alive("changed");
}

ATTACK(code_changes_itself_to_a_fault, "any")
{
	u8 *at = alias(changes);

	at[2] = 0x0b;
	at[1] = 0x0f;
	asm volatile("call changes" : : "D" (at + 3) : "rax", "memory");
	return 0;
}

ATTACK(code_wipes_its_page, "any")
{
	asm volatile("rep stosb" : : "D" (alias((void *)((unsigned long)changes & PAGE_MASK))), "a" (0xf4), "c" (4096) : "memory");
	asm volatile("call across" : : "D" (UNMAPPED) : "memory");
	return 0;
}

ATTACK(code_wipes_the_page_it_runs_on, "any")
{
	unsigned long page = here() & PAGE_MASK;

	asm volatile("rep stosb" : : "D" (alias((void *)page)), "a" (0x0f), "c" (4096) : "memory");
	return alive("wiped");
}

ATTACK(code_unmaps_itself, "any")
{
	asm volatile("movq $0,(%0); invlpg (%1); nop" : : "r" (entry_of(here(), 1)), "r" (here()) : "memory");
	return alive("unmapped");
}

ATTACK(code_on_a_writable_page, "any")
{
	u8 *page = (u8 *)vmalloc(PAGE_SIZE);
	int i;

	set_entry((unsigned long)page, 1, *entry_of((unsigned long)page, 1) & ~(1UL << 63));
	for (i = 0; i < 2000; i++) {
		page[0] = 0xb8;
		*(u32 *)(page + 1) = i;
		page[5] = 0xc3;
		if (((int (*)(void))page)() != i)
			return -EIO;
	}
	return alive("generated");
}

/* -- a single instruction that faults, and changes what the report is to look at -- */

ATTACK(fault_that_rewrites_its_table, "any")
{
	unsigned long *entry = entry_of(UNMAPPED, 2);

	if (!entry) {
		set_entry(UNMAPPED, 4, virt_to_phys((void *)get_zeroed_page(GFP_KERNEL)) | 3);
		set_entry(UNMAPPED, 3, virt_to_phys((void *)get_zeroed_page(GFP_KERNEL)) | 3);
		entry = entry_of(UNMAPPED, 2);
		*entry = virt_to_phys((void *)get_zeroed_page(GFP_KERNEL)) | 3;
	}
	asm volatile("movsq" : : "S" (UNMAPPED), "D" (entry) : "memory");
	return 0;
}

ATTACK(fault_that_rewrites_the_root, "any")
{
	asm volatile("rep movsb" : : "S" (UNMAPPED), "D" (physical(root()) + 2048), "c" (2048) : "memory");
	return 0;
}

ATTACK(fault_of_an_endless_copy, "any")
{
	asm volatile("rep movsb" : : "S" (UNMAPPED), "D" (UNMAPPED + 1), "c" (~0UL) : "memory");
	return 0;
}

ATTACK(fault_on_two_pages, "any")
{
	*(volatile u64 *)(UNMAPPED + 4092) = 1;
	return 0;
}

ATTACK(more_memory_than_ram, "any")
{
	unsigned long *table = (void *)get_zeroed_page(GFP_KERNEL), at = virt_to_phys(table);
	unsigned long start = 0xffff000000000000UL | 300UL << 39;
	int i;

	for (i = 0; i < 512; i++)
		table[i] = at | 3;
	set_entry(start, 4, at | 3);
	pr_info("%zu\n", strlen((char *)start));
	memcpy((void *)__get_free_page(GFP_KERNEL), (void *)start, 1UL << 38);
	return alive("copied");
}

ATTACK(user_copy_of_forged_tables, "any")
{
	unsigned long at = 0x10000;
	char to[64];

	set_entry(at, 4, DEVICE | 7);
	pr_info("%lu\n", copy_from_user(to, (void __user *)at, sizeof(to)));
	set_entry(at, 4, root() | 7);
	pr_info("%lu\n", copy_to_user((void __user *)at, to, sizeof(to)));
	pr_info("%ld\n", strncpy_from_user(to, (void __user *)at, 64));
	return alive("copied");
}
