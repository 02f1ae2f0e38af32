// SPDX-License-Identifier: GPL-2.0-only
/* /proc/stumble: a letter that is written to it says in which way the kernel stumbles in the writer's name. */
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/uaccess.h>

static void (*volatile nowhere)(void);
static int *volatile nothing;
static bool at_release;

static noinline int stumble(char how)
{
	switch (how) {
	case 'w':
		WARN_ON(1);
		return 0;
	case 's':
		dump_stack();
		return 0;
	case 'b':
		BUG();
	case 'n':
		*nothing = 1;
		return 0;
	case 'j':
		nowhere();
		return 0;
	case 'r':
		at_release = true;
		return 0;
	}
	return -EINVAL;
}

static ssize_t stumble_write(struct file *file, const char __user *from, size_t count, loff_t *pos)
{
	char how;
	int error;

	if (get_user(how, from))
		return -EFAULT;
	error = stumble(how);
	return error ? error : count;
}

static int stumble_release(struct inode *inode, struct file *file)
{
	if (at_release)
		*nothing = 1;
	return 0;
}

static const struct proc_ops stumble_ops = { .proc_write = stumble_write, .proc_release = stumble_release };

static int __init stumble_init(void)
{
	return proc_create("stumble", 0222, NULL, &stumble_ops) ? 0 : -ENOMEM;
}

static void __exit stumble_exit(void)
{
	remove_proc_entry("stumble", NULL);
}

module_init(stumble_init);
module_exit(stumble_exit);
MODULE_LICENSE("GPL");
