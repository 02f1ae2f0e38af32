// SPDX-License-Identifier: GPL-2.0-only
/* The code and the frame by which guest and Python call each other: forged, entered halfway, without a stack. */
#include "attack.h"

#include <linux/sort.h>
#include <linux/string.h>

static volatile u64 *frame = (u64 *)FRAME;

static noinline int alive(const char *what)
{
	pr_info("%s\n", what);
	return 0;
}

/* Halt with a frame of these words: id, six arguments, stack pointer, result, function. */
static noinline void forge(u64 id, u64 argument, u64 sp)
{
	int i;

	for (i = 1; i < 7; i++)
		frame[i] = argument;
	frame[7] = sp;
	frame[8] = argument;
	frame[0] = id;
	asm volatile("hlt" : : : "memory");
}

#define FORGE(name, id, argument, sp, ends) \
	ATTACK(name, ends) { forge(id, argument, sp); return alive(#name); }

FORGE(id_return, 1, 0, 0, "any")
FORGE(id_return_ones, 1, ~0UL, ~0UL, "any")
FORGE(id_first, 2, 0, 0, "any")
FORGE(id_huge, ~0UL, 0, 0, "any")
FORGE(id_negative, 1UL << 63, 0, 0, "any")
FORGE(stack_of_zero, 40, 0, 0, "any")
FORGE(stack_not_canonical, 40, NOT_CANONICAL, NOT_CANONICAL, "any")
FORGE(stack_on_the_frame, 40, FRAME, FRAME, "any")
FORGE(stack_on_the_stubs, 40, STUBS, STUBS, "any")
FORGE(stack_ones, 40, ~0UL, ~0UL, "any")
FORGE(stack_of_user, 40, USER, USER, "any")

/* Every function that there is, with a stack that is none: each call that survives resumes at nothing. */
ATTACK(every_id, "any")
{
	u64 id = 0;

	if (kstrtoull(value, 0, &id))
		return -EINVAL;
	forge(id, (u64)value, UNMAPPED);
	return 0;
}

ATTACK(every_id_on_this_stack, "any")
{
	u64 id = 0;

	if (kstrtoull(value, 0, &id))
		return -EINVAL;
	forge(id, (u64)value, (u64)__builtin_frame_address(0) - 4096);
	return 0;
}

/* Any byte of the shared code, with any stack. */
ATTACK(jump, "any")
{
	u64 offset = 0;

	if (kstrtoull(value, 0, &offset))
		return -EINVAL;
	asm volatile("jmp *%0" : : "r" (STUBS + offset), "D" (UNMAPPED), "S" (NOT_CANONICAL) : "memory");
	return 0;
}

ATTACK(jump_without_a_stack, "any")
{
	u64 offset = 0;

	if (kstrtoull(value, 0, &offset))
		return -EINVAL;
	asm volatile("xor %%esp,%%esp; jmp *%0" : : "r" (STUBS + offset) : "memory");
	return 0;
}

#define ENTERED(name, function, stack, ends)							\
	ATTACK(name, ends)									\
	{											\
		frame[7] = (u64)(stack);							\
		frame[9] = (u64)(function);							\
		asm volatile("jmp *%0" : : "r" (ENTER) : "memory");				\
		return 0;									\
	}

ENTERED(enter_itself, ENTER, (u64)__builtin_frame_address(0) - 256, "any")
ENTERED(enter_resume, RESUME, (u64)__builtin_frame_address(0) - 256, "any")
ENTERED(enter_nothing, 0, (u64)__builtin_frame_address(0) - 256, "any")
ENTERED(enter_not_canonical, NOT_CANONICAL, (u64)__builtin_frame_address(0) - 256, "any")
ENTERED(enter_without_a_stack, alive, 0, "any")
ENTERED(enter_on_the_frame, alive, FRAME + 0x1000, "any")
ENTERED(enter_alive, alive, (u64)__builtin_frame_address(0) - 256, "any")

ATTACK(padding, "any")
{
	((void (*)(void))(STUBS + 0x7f))();
	return alive("padding");
}

ATTACK(stack_left_unaligned, "any")
{
	asm volatile("sub $5,%%rsp; call *%0; add $5,%%rsp" : : "r" (alive), "D" ("unaligned") : "memory");
	return 0;
}

/* -- callbacks -- */

static u64 numbers[8];
static long depth;

static int nested(const void *a, const void *b)
{
	if (depth++ < 1000)
		sort(numbers, 8, 8, nested, NULL);
	return 0;
}

ATTACK(callbacks_nest, "any")
{
	sort(numbers, 8, 8, nested, NULL);
	return alive("sorted");
}

static int never(const void *a, const void *b)
{
	for (;;)
		asm volatile("" : : : "memory");
}

ATTACK(callback_never_returns, "lockup")
{
	sort(numbers, 8, 8, never, NULL);
	return 0;
}

static u64 saved;

static int leaves(const void *a, const void *b)
{
	asm volatile("mov %0,%%rsp; pop %%rbp; ret" : : "r" (saved) : "memory");
	return 0;
}

ATTACK(callback_returns_past_its_caller, "any")
{
	saved = (u64)__builtin_frame_address(0);
	sort(numbers, 8, 8, leaves, NULL);
	return 0;
}

static int forges(const void *a, const void *b)
{
	forge(1, 7, 0);
	return 0;
}

ATTACK(callback_forges_its_return, "any")
{
	sort(numbers, 8, 8, forges, NULL);
	return alive("sorted");
}

#define CALLBACK(name, at, ends) \
	ATTACK(name, ends) { sort(numbers, 8, 8, (void *)(at), NULL); return alive(#name); }

CALLBACK(callback_null, 0UL, "any")
CALLBACK(callback_not_canonical, NOT_CANONICAL, "any")
CALLBACK(callback_of_user, USER, "any")
CALLBACK(callback_of_data, numbers, "any")
CALLBACK(callback_of_the_frame, FRAME, "any")
CALLBACK(callback_of_trap, STUBS, "any")
CALLBACK(callback_of_resume, RESUME, "any")
CALLBACK(callback_of_enter, ENTER, "any")
CALLBACK(callback_of_the_middle_of_a_stub, STUBS + 0x406, "any")
CALLBACK(callback_sorts, sort, "any")
CALLBACK(callback_prints, _printk, "any")

ATTACK(sort_of_everything, "any")
{
	sort((void *)PAGE_OFFSET, ~0UL / 8, 8, nested, NULL);
	return 0;
}

ATTACK(sort_of_elements_of_nothing, "any")
{
	sort(numbers, ~0UL, 0, nested, NULL);
	return alive("sorted");
}

ATTACK(recursion, "any")
{
	return recursion(value, kp) + 1;
}
