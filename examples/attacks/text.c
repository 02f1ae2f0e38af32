// SPDX-License-Identifier: GPL-2.0-only
/* What is printed and reported: formats, and the tables from which reports are made. */
#include "attack.h"

#include <linux/device.h>
#include <linux/printk.h>

static noinline int alive(const char *what)
{
	pr_info("%s\n", what);
	return 0;
}

#define FORMAT(name, ends, ...) ATTACK(name, ends) { printk(__VA_ARGS__); return alive(#name); }

FORMAT(string_null, "any", "%s\n", (char *)NULL)
FORMAT(string_unmapped, "any", "%s\n", (char *)UNMAPPED)
FORMAT(string_not_canonical, "any", "%s\n", (char *)NOT_CANONICAL)
FORMAT(string_of_the_frame, "any", "%s %.100s\n", (char *)FRAME, (char *)STUBS)
FORMAT(format_unmapped, "any", (char *)UNMAPPED)
FORMAT(format_not_canonical, "any", (char *)NOT_CANONICAL, 1, 2, 3)
FORMAT(width_huge, "any", "%*d %-*s\n", INT_MAX, 1, INT_MIN, "x")
FORMAT(precision_huge, "any", "%.*d %.*s\n", INT_MAX, 1, INT_MIN, "x")
FORMAT(hex_string_huge, "any", "%*ph\n", INT_MAX, (void *)PAGE_OFFSET)
FORMAT(bitmap_huge, "any", "%*pb %*pbl\n", INT_MAX, (void *)PAGE_OFFSET, INT_MAX, (void *)PAGE_OFFSET)
FORMAT(escaped_huge, "any", "%*pE\n", INT_MAX, (void *)PAGE_OFFSET)
FORMAT(count_written, "any", "%n%n%n\n", 1, 2, 3)
FORMAT(directive_unknown, "any", "%y %! %\n")
FORMAT(directive_cut, "any", "%")
FORMAT(levels, "any", "\001")
FORMAT(level_unknown, "any", "\001z\0012\001cx\001")

ATTACK(many_arguments, "any")
{
	static char format[6000];
	int i;

	for (i = 0; i < sizeof(format) - 3; i += 3)
		memcpy(format + i, "%s ", 3);
	printk(format);
	return alive("many");
}

/* Each %p and two letters, of each kind of pointer. */
ATTACK(every_pointer_format, "any")
{
	static u64 room[1024];
	char format[8] = "%pXX\n";
	char a, b;
	int i;

	u64 pointers[] = { 0, 8, -22UL, UNMAPPED, NOT_CANONICAL, USER, (u64)room, (u64)current, FRAME };
	for (i = 0; i < 1024; i++)
		room[i] = (u64)room;
	for (i = 0; i < ARRAY_SIZE(pointers); i++)
		for (a = 'A'; a <= 'z'; a++)
			for (b = (i % 2) ? 'A' : 'a'; b <= 'z'; b += 5) {
				format[2] = a;
				format[3] = b;
				printk(format, (void *)pointers[i], (void *)pointers[i]);
			}
	return alive("formats");
}

static struct va_format within;

static void record(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	within.fmt = format;
	within.va = &list;
	printk("%pV\n", &within);
	va_end(list);
}

ATTACK(format_within_itself, "any")
{
	record("%pV", &within);
	return alive("itself");
}

ATTACK(formats_within_formats, "any")
{
	static struct va_format chain[10000];
	static struct { u32 gp, fp; u64 overflow, saved; } lists[10000];
	static u64 arguments[10000];
	int i;

	for (i = 0; i < 10000; i++) {
		chain[i].fmt = "%pV %pV";
		chain[i].va = (void *)&lists[i];
		lists[i].gp = lists[i].fp = 0xff;
		arguments[i] = (u64)&chain[(i + 1) % 10000];
		lists[i].overflow = (u64)&arguments[i];
	}
	printk("%pV\n", &chain[0]);
	return alive("formats");
}

ATTACK(argument_list_forged, "any")
{
	struct va_format one = { .fmt = "%s %d %pV", .va = (void *)UNMAPPED };

	printk("%pV\n", &one);
	one.va = (void *)STUBS;
	printk("%pV\n", &one);
	return alive("list");
}

ATTACK(string_without_an_end, "any")
{
	unsigned long *table = (void *)get_zeroed_page(GFP_KERNEL), page = __get_free_page(GFP_KERNEL);
	unsigned long at = 0xffffa10000000000UL;
	int i;

	memset((void *)page, 'x', PAGE_SIZE);
	for (i = 0; i < 512; i++)
		table[i] = virt_to_phys((void *)page) | 3;
	*entry_of(at, 4) = virt_to_phys(table) | 3;
	printk("%s\n", (char *)at);
	return alive("endless");
}

ATTACK(hex_dump_huge, "any")
{
	print_hex_dump(KERN_INFO, "x", DUMP_PREFIX_ADDRESS, 16, 1, (void *)PAGE_OFFSET, 1UL << 40, true);
	return 0;
}

ATTACK(device_forged, "any")
{
	static u64 room[512];
	int i;

	for (i = 0; i < 512; i++)
		room[i] = (u64)room;
	_dev_err((void *)room, "x %s\n", "y");
	_dev_err((void *)UNMAPPED, "x\n");
	return alive("device");
}

/* -- the tables that reports are made from -- */

#define TABLE(name, symbol, value, cause, ends)							\
	ATTACK(name, ends)									\
	{											\
		struct mod_kallsyms *k = THIS_MODULE->kallsyms;					\
		(void)k;									\
		symbol = (void *)(value);							\
		cause;										\
		return alive(#name);								\
	}

TABLE(bug_table_nowhere, THIS_MODULE->bug_table, UNMAPPED, WARN_ON(1), "any")
TABLE(extable_nowhere, THIS_MODULE->extable, UNMAPPED, *(volatile int *)UNMAPPED = 1, "any")
TABLE(orc_nowhere, THIS_MODULE->arch.orc_unwind, UNMAPPED, WARN_ON(1), "any")
TABLE(symbols_nowhere, k->symtab, UNMAPPED, WARN_ON(1), "any")
TABLE(names_nowhere, k->strtab, NOT_CANONICAL, WARN_ON(1), "any")
TABLE(symbols_nowhere_and_oops, k->symtab, UNMAPPED, *(volatile int *)8 = 1, "any")

/* An entry of the exception table: to itself, to nothing, of each type. */
#define FIXUP(name, to, data, ends)								\
	ATTACK(name, ends)									\
	{											\
		asm volatile("1: mov (%0),%%rax\n2:\n"						\
			     ".pushsection __ex_table,\"a\"\n.balign 4\n.long 1b - .\n.long " to "\n.long " #data "\n.popsection" \
			     : : "r" (UNMAPPED) : "rax", "memory");				\
		return alive(#name);								\
	}

FIXUP(fixup_to_itself, "1b - .", 1, "any")
FIXUP(fixup_to_nothing, "0x7fffff00", 1, "any")
FIXUP(fixup_negative, "-0x7fffff00", 3, "any")
FIXUP(fixup_of_type_0, "2b - .", 0, "any")
FIXUP(fixup_of_type_4, "2b - .", 0x1f04, "any")
FIXUP(fixup_of_type_7, "2b - .", 0xffff1f07, "any")
FIXUP(fixup_of_type_9, "2b - .", 0x00000f09, "any")
FIXUP(fixup_of_type_17, "2b - .", 0xffff0f11, "any")
FIXUP(fixup_of_type_200, "2b - .", 0xffffffc8, "any")

/* An entry of the table of bugs: its file is nowhere, or without an end; a warning of an unknown taint. */
#define BUG_AT(name, file, line, flags, ends)							\
	ATTACK(name, ends)									\
	{											\
		asm volatile("1: ud2\n.pushsection __bug_table,\"aw\"\n2: .long 1b - 2b\n.long " file "\n.word " #line	\
			     "\n.word " #flags "\n.popsection" : : : "memory");			\
		return alive(#name);								\
	}

BUG_AT(bug_in_no_file, "0x7fffff00", 1, 0, "any")
BUG_AT(warning_in_no_file, "0x7fffff00", 1, 1, "any")
BUG_AT(warning_of_an_unknown_taint, "1b - 2b - 4", 0xffff, 0xff01, "any")
BUG_AT(warning_once_of_ones, "1b - 2b - 4", 0xffff, 0xffff, "any")

ATTACK(warning_in_a_loop, "lockup")
{
	for (;;)
		WARN_ON(1);
}

ATTACK(warning_once_in_a_loop, "lockup")
{
	for (;;)
		WARN_ON_ONCE(1);
}

ATTACK(stack_dumped_in_a_loop, "lockup")
{
	for (;;)
		dump_stack();
}

ATTACK(lines_in_a_loop, "lockup")
{
	for (;;)
		pr_info("a line\n");
}

ATTACK(one_line_in_a_loop, "lockup")
{
	for (;;)
		pr_cont("without an end ");
}

/* -- faults within faults -- */

#define FAULT(name, sp, bp, to, ends)							\
	ATTACK(name, ends)								\
	{										\
		asm volatile("mov %0,%%rsp; mov %1,%%rbp; jmp *%2" : : "r" ((unsigned long)(sp)), \
			     "r" ((unsigned long)(bp)), "r" ((unsigned long)(to)) : "memory"); \
		return 0;								\
	}

FAULT(fault_at_nothing, 0, 0, 0, "any")
FAULT(fault_not_canonical, NOT_CANONICAL, NOT_CANONICAL, NOT_CANONICAL, "any")
FAULT(fault_at_the_end, ~0UL, ~0UL, ~0UL, "any")
FAULT(fault_at_the_end_of_the_lower_half, 0x7fffffffffffUL, 0, 0x7fffffffffffUL, "any")
FAULT(fault_in_the_frame, FRAME, FRAME, FRAME, "any")
FAULT(fault_with_the_stack_at_its_end, current->stack + THREAD_SIZE, 0, 0, "any")
FAULT(fault_with_the_stack_at_its_start, current->stack, 0, 0, "any")
FAULT(fault_below_the_stack, current->stack - 8, 0, alive, "any")
FAULT(fault_unaligned, current->stack + 4001, 1, 1, "any")

ATTACK(divided, "any")
{
	asm volatile("xor %%edx,%%edx; xor %%ecx,%%ecx; div %%ecx" : : : "eax", "ecx", "edx");
	return 0;
}

ATTACK(divided_too_much, "any")
{
	asm volatile("idivl %%ecx" : : "a" (0x80000000), "d" (0xffffffff), "c" (-1));
	return 0;
}

ATTACK(stack_protector_smashed, "any")
{
	volatile u64 *at = __builtin_frame_address(0);
	int i;

	for (i = -8; i < 8; i++)
		at[i] = 0x4141414141414141UL;
	return alive("smashed");
}
