// SPDX-License-Identifier: GPL-2.0
/* Probes of its own functions and of the kernel's: at the entry, behind it, and at the return. */
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/parser.h>

noinline int probes_target(int a, int b)
{
	int product = READ_ONCE(a) * b;

	barrier();
	return product + 1;
}

static int entered(struct kprobe *p, struct pt_regs *regs)
{
	pr_info("probes: %s+%u begins\n", p->symbol_name, p->offset);
	if (p->addr == (void *)probes_target)
		pr_info("probes: arguments %ld, %ld\n", regs->di, regs->si);
	return 0;
}

static void left(struct kprobe *p, struct pt_regs *regs, unsigned long flags)
{
	pr_info("probes: %s+%u done\n", p->symbol_name, p->offset);
}

static int changed(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	pr_info("probes: returns %ld\n", regs_return_value(regs));
	regs_set_return_value(regs, 100);
	return 0;
}

static struct kprobe entry = { .symbol_name = "probes_target", .pre_handler = entered, .post_handler = left };
static struct kprobe kernels = { .symbol_name = "match_int", .pre_handler = entered, .post_handler = left };
static struct kretprobe ret = { .kp.symbol_name = "probes_target", .handler = changed, .maxactive = 4 };

static int __init probes_init(void)
{
	char digits[] = "42";
	substring_t text = { digits, digits + 2 };
	int number = 0, err = register_kprobe(&entry);

	pr_info("probes: register_kprobe: %d\n", err);
	pr_info("probes: register_kprobe: %d\n", register_kprobe(&kernels));
	pr_info("probes: 6 * 7 + 1 = %d\n", probes_target(6, 7));
	err = match_int(&text, &number);
	pr_info("probes: match_int: %d %d\n", err, number);
	pr_info("probes: register_kretprobe: %d\n", register_kretprobe(&ret));
	pr_info("probes: 2 * 3 + 1 = %d\n", probes_target(2, 3));
	unregister_kretprobe(&ret);
	unregister_kprobe(&entry);
	unregister_kprobe(&kernels);
	pr_info("probes: 2 * 3 + 1 = %d\n", probes_target(2, 3));
	return 0;
}

static void __exit probes_exit(void)
{
}

module_init(probes_init);
module_exit(probes_exit);
MODULE_DESCRIPTION("Probes of its own functions and of the kernel's");
MODULE_LICENSE("GPL");
