// SPDX-License-Identifier: GPL-2.0-only
/* Levels, continued lines, rate limits, long lines: what becomes of a message on its way to the log. */
#include <linux/device.h>
#include <linux/module.h>
#include <linux/printk.h>
#include <linux/ratelimit.h>
#include <linux/slab.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("printk() without formats");

static int __init printk_levels_init(void)
{
	char *line = kmalloc(1200, GFP_KERNEL);
	int i;

	if (!line)
		return -ENOMEM;
	pr_emerg("emerg\n");
	pr_alert("alert\n");
	pr_crit("crit\n");
	pr_err("err\n");
	pr_warn("warn\n");
	pr_notice("notice\n");
	pr_info("info\n");
	pr_debug("debug is compiled out, or off\n");
	printk(KERN_DEBUG "debug\n");
	printk("no level\n");
	printk(KERN_DEFAULT "default level\n");
	printk("");
	printk("\n");
	printk(KERN_INFO "two\nlines\n");
	printk(KERN_INFO "three\n" KERN_ERR "levels inside\n");
	printk(KERN_INFO "no newline");
	printk(KERN_INFO "next record");
	printk(KERN_CONT ", continued");
	pr_cont(", and again\n");
	pr_cont("continuing nothing\n");
	printk(KERN_INFO "begun");
	pr_cont(" 1");
	pr_cont(" 2");
	printk(KERN_ERR "cut in\n");
	pr_cont(" 3\n");
	printk(KERN_SOH "9" "no such level\n");
	printk("<3>old style is text\n");
	printk("a \001 control and a \x7f and a \t tab and \xc3\xa4\n");
	for (i = 0; i < 3; i++)
		pr_info_once("once\n");
	for (i = 0; i < 15; i++)
		pr_info_ratelimited("limited %d\n", i);
	memset(line, 'x', 1199);
	line[1199] = 0;
	pr_info("%s|end\n", line);
	print_hex_dump(KERN_INFO, "dump: ", DUMP_PREFIX_OFFSET, 16, 1, "0123456789abcdef\x01\x02 end\n", 23, true);
	print_hex_dump(KERN_INFO, "", DUMP_PREFIX_NONE, 32, 4, "0123456789abcdef", 16, false);
	kfree(line);
	return 0;
}

static void __exit printk_levels_exit(void)
{
}

module_init(printk_levels_init);
module_exit(printk_levels_exit);
