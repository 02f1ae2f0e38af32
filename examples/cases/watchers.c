// SPDX-License-Identifier: GPL-2.0-only
/* Hears of errors: a die notifier, a dumper of the log, and one on panic_notifier_list. what= goes wrong then. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bug.h>
#include <linux/kdebug.h>
#include <linux/kmsg_dump.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/panic_notifier.h>
#include <linux/version.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("hears of errors");

static char *what = "none";
module_param(what, charp, 0);
static bool stop;			/* go on behind the instruction */
module_param(stop, bool, 0);
static unsigned long length = 2;	/* of that instruction */

static int hear(struct notifier_block *block, unsigned long why, void *data)
{
	struct die_args *args = data;

	pr_info("die %lu: %s, error %ld, trap %d, signal %d, irqs %s, at %pS\n", why, args->str, args->err,
		args->trapnr, args->signr, irqs_disabled() ? "off" : "on", (void *)args->regs->ip);
	if (stop) {
		args->regs->ip += length;
		return NOTIFY_STOP;
	}
	return NOTIFY_DONE;
}

static int last(struct notifier_block *block, unsigned long why, void *data)
{
	pr_info("panic %lu: %s, irqs %s\n", why, (char *)data, irqs_disabled() ? "off" : "on");
	return NOTIFY_DONE;
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
static void dump(struct kmsg_dumper *dumper, struct kmsg_dump_detail *detail)
{
	enum kmsg_dump_reason reason = detail->reason;
#else
static void dump(struct kmsg_dumper *dumper, enum kmsg_dump_reason reason)
{
#endif
	static char line[256];
	struct kmsg_dump_iter iter;
	size_t size;
	int heard = 0;

	kmsg_dump_rewind(&iter);
	while (kmsg_dump_get_line(&iter, false, line, sizeof(line), &size))
		heard += strnstr(line, "watchers: die", size) ? 1 : 0;
	pr_info("dump %d (%s): heard of %d\n", reason, kmsg_dump_reason_str(reason), heard);
}

static struct notifier_block died = { .notifier_call = hear };
static struct notifier_block panicked = { .notifier_call = last };
static struct kmsg_dumper dumper = { .dump = dump };

static noinline void go_wrong(void)
{
	if (!strcmp(what, "undefined"))
		asm volatile("ud1 %%eax, %%eax" : : );
	else if (!strcmp(what, "divide"))
		asm volatile("xor %%ecx, %%ecx; div %%ecx" : : : "eax", "ecx", "edx");
	else if (!strcmp(what, "protection"))
		asm volatile("movb $1, (%0)" : : "r"(0xdead000000000100) : "memory");
	else if (!strcmp(what, "breakpoint"))
		asm volatile("int3");
	else if (!strcmp(what, "write"))
		asm volatile("movb $1, (%0)" : : "r"(8L) : "memory");
	else if (!strcmp(what, "bug"))
		BUG();
	else if (!strcmp(what, "panic"))
		panic("for %s", "them");
}

static int __init watchers_init(void)
{
	int error = register_die_notifier(&died) ?: kmsg_dump_register(&dumper);

	if (error)
		return error;
	atomic_notifier_chain_register(&panic_notifier_list, &panicked);
	if (!strcmp(what, "undefined") || !strcmp(what, "write") || !strcmp(what, "protection"))
		length = 3;
	if (!strcmp(what, "breakpoint"))
		length = 0;
	go_wrong();
	pr_info("went on\n");
	return 0;
}

static void __exit watchers_exit(void)
{
	atomic_notifier_chain_unregister(&panic_notifier_list, &panicked);
	kmsg_dump_unregister(&dumper);
	unregister_die_notifier(&died);
}

module_init(watchers_init);
module_exit(watchers_exit);
