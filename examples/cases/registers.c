// SPDX-License-Identifier: GPL-2.0-only
/* Registers one thing and forgets it when it is unloaded, or with tidy=1 unregisters it. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/interrupt.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/notifier.h>
#include <linux/platform_device.h>
#include <linux/proc_fs.h>
#include <linux/reboot.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("registers something");

static char *what = "";
module_param(what, charp, 0444);
MODULE_PARM_DESC(what, "reboot_notifier, proc, debugfs, misc, filesystem, ...");
static bool tidy;
module_param(tidy, bool, 0444);
MODULE_PARM_DESC(tidy, "leave nothing behind");

#define IS(name) (!strcmp(what, name))

static int hear(struct notifier_block *unused, unsigned long action, void *data)
{
	return NOTIFY_OK;
}
static struct notifier_block ear = { .notifier_call = hear };

static ssize_t read(struct file *file, char __user *buffer, size_t size, loff_t *offset)
{
	return 0;
}
static const struct proc_ops proc_ops = { .proc_read = read };
static const struct file_operations fops = { .owner = THIS_MODULE, .read = read };
static struct proc_dir_entry *entry;
static struct dentry *dentry;
static struct miscdevice misc = { .minor = MISC_DYNAMIC_MINOR, .name = "registers", .fops = &fops };

static int no_context(struct fs_context *fc)
{
	return -EINVAL;
}
static struct file_system_type filesystem = {
	.name = "registers",
	.init_fs_context = no_context,
	.kill_sb = kill_litter_super,
};

static irqreturn_t handle(int irq, void *cookie)
{
	return IRQ_NONE;
}
static int cookie;

static struct platform_driver driver = { .driver = { .name = "registers" } };

static int receive(struct sk_buff *skb, struct net_device *dev, struct packet_type *type,
		   struct net_device *orig)
{
	return 0;
}
static struct packet_type protocol = { .type = 0x88b5, .func = receive };

static int __init registers_init(void)
{
	if (IS("reboot_notifier"))
		return register_reboot_notifier(&ear);
	if (IS("netdevice_notifier"))
		return register_netdevice_notifier(&ear);
	if (IS("proc"))
		entry = proc_create("registers", 0444, NULL, &proc_ops);
	if (IS("debugfs"))
		dentry = debugfs_create_file("registers", 0444, NULL, NULL, &fops);
	if (IS("misc"))
		return misc_register(&misc);
	if (IS("filesystem"))
		return register_filesystem(&filesystem);
	if (IS("interrupt"))
		return request_irq(7, handle, IRQF_SHARED, "registers", &cookie);
	if (IS("driver"))
		return platform_driver_register(&driver);
	if (IS("protocol"))
		dev_add_pack(&protocol);
	return 0;
}

static void __exit registers_exit(void)
{
	if (!tidy)
		return;
	if (IS("reboot_notifier"))
		unregister_reboot_notifier(&ear);
	if (IS("netdevice_notifier"))
		unregister_netdevice_notifier(&ear);
	if (IS("proc"))
		proc_remove(entry);
	if (IS("debugfs"))
		debugfs_remove(dentry);
	if (IS("misc"))
		misc_deregister(&misc);
	if (IS("filesystem"))
		unregister_filesystem(&filesystem);
	if (IS("interrupt"))
		free_irq(7, &cookie);
	if (IS("driver"))
		platform_driver_unregister(&driver);
	if (IS("protocol"))
		dev_remove_pack(&protocol);
}

module_init(registers_init);
module_exit(registers_exit);
