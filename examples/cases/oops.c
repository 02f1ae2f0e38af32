// SPDX-License-Identifier: GPL-2.0-only
/* Every way to go wrong, by kind=. The functions are not inlined, so that the trace names them. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bug.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/uaccess.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("goes wrong");

static char *kind = "null_write";
module_param(kind, charp, 0);
static bool thread;			/* in a thread of its own, not in init */
module_param(thread, bool, 0);

static volatile int zero;
static char data[16] __aligned(16) = { 0x90, 0xc3 };
static const char constant[16] = "read-only";

static noinline void null_write(void)
{
	*(volatile int *)8 = 1;
}

static noinline void null_read(void)
{
	zero = *(volatile int *)16;
}

static noinline void bad_address(void)
{
	*(volatile long *)0xdead000000000100 = 1;
}

static noinline void user_address(void)
{
	*(volatile int *)0x400000 = 1;
}

static noinline void bug(void)
{
	BUG();
}

static noinline void warn(void)
{
	int i;

	for (i = 0; i < 2; i++) {
		WARN_ON(!zero);
		WARN_ON_ONCE(!zero);
		WARN(1, "a warning with %s\n", "words");
	}
	pr_info("warnings go on; WARN_ON returned %d\n", !!WARN_ON(zero == 0));
}

static noinline void divide(void)
{
	zero = 100 / zero;
}

static noinline void jump_data(void)
{
	void (*volatile into)(void) = (void *)data;

	into();
}

static noinline void jump_null(void)
{
	void (*volatile into)(void) = NULL;

	into();
}

static noinline void write_const(void)
{
	*(volatile char *)constant = 'R';
}

static noinline void write_text(void)
{
	*(volatile char *)write_text = 0x90;
}

static noinline int recursion(int depth)
{
	volatile char frame[512];

	frame[0] = depth;
	return recursion(depth + 1) + frame[0];
}

static noinline void stack_smash(void)
{
	char small[8];
	volatile char *p = small;
	int i;

	for (i = 0; i < 64; i++)
		p[i] = 0x41;
}

static noinline void list_corruption(void)
{
	static struct list_head item;

	INIT_LIST_HEAD(&item);
	list_del(&item);
	list_del(&item);
}

static noinline void sleep_in_atomic(void)
{
	preempt_disable();
	msleep(10);
	preempt_enable();
}

static noinline void undefined(void)
{
	asm volatile("ud2\n\t" ASM_REACHABLE);
}

static noinline void die_panic(void)
{
	panic("asked to panic, %d", 42);
}

static int go(void *unused)
{
	pr_info("%s\n", kind);
	if (!strcmp(kind, "null_write"))
		null_write();
	else if (!strcmp(kind, "null_read"))
		null_read();
	else if (!strcmp(kind, "bad_address"))
		bad_address();
	else if (!strcmp(kind, "user_address"))
		user_address();
	else if (!strcmp(kind, "bug"))
		bug();
	else if (!strcmp(kind, "warn"))
		warn();
	else if (!strcmp(kind, "divide"))
		divide();
	else if (!strcmp(kind, "jump_data"))
		jump_data();
	else if (!strcmp(kind, "jump_null"))
		jump_null();
	else if (!strcmp(kind, "write_const"))
		write_const();
	else if (!strcmp(kind, "write_text"))
		write_text();
	else if (!strcmp(kind, "recursion"))
		zero = recursion(0);
	else if (!strcmp(kind, "stack_smash"))
		stack_smash();
	else if (!strcmp(kind, "list_corruption"))
		list_corruption();
	else if (!strcmp(kind, "sleep_in_atomic"))
		sleep_in_atomic();
	else if (!strcmp(kind, "undefined"))
		undefined();
	else if (!strcmp(kind, "panic"))
		die_panic();
	pr_info("%s survived\n", kind);
	return 0;
}

static int __init go_wrong_init(void)
{
	if (!thread)
		return go(NULL);
	return PTR_ERR_OR_ZERO(kthread_run(go, NULL, "oopser"));
}

static void __exit go_wrong_exit(void)
{
	pr_info("exit\n");
}

module_init(go_wrong_init);
module_exit(go_wrong_exit);
