// SPDX-License-Identifier: GPL-2.0-only
/* /dev/ledger: notes in the log who opens, flushes and closes it, and calls its ioctl() from 32-bit code. */
#include <linux/compat.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/uaccess.h>

#define LEDGER_ADD _IOWR('L', 0, int) /* adds to the int at the address, and returns what it was */

static const char *state(void)
{
	return current->flags & PF_EXITING ? "which ends" : "which runs";
}

static int ledger_open(struct inode *inode, struct file *file)
{
	pr_info("opened by %s, %s\n", current->comm, state());
	return 0;
}

static int ledger_flush(struct file *file, fl_owner_t id)
{
	pr_info("flushed by %s, %s\n", current->comm, state());
	return file->f_flags & O_APPEND ? -EDQUOT : 0;
}

static int ledger_release(struct inode *inode, struct file *file)
{
	pr_info("closed by %s, %s\n", current->comm, state());
	return 0;
}

static long ledger_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	int __user *at = (int __user *)argument;
	int before;

	if (command != LEDGER_ADD)
		return -ENOTTY;
	if (get_user(before, at) || put_user(before + 1, at))
		return -EFAULT;
	return before;
}

static long ledger_compat_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	pr_info("32-bit code asks for %u, in %s\n", _IOC_NR(command), in_compat_syscall() ? "32 bits" : "64 bits");
	return ledger_ioctl(file, command, (unsigned long)compat_ptr(argument));
}

static const struct file_operations ledger_fops = {
	.owner = THIS_MODULE,
	.open = ledger_open,
	.flush = ledger_flush,
	.release = ledger_release,
	.unlocked_ioctl = ledger_ioctl,
	.compat_ioctl = ledger_compat_ioctl,
};

static struct miscdevice ledger = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "ledger",
	.fops = &ledger_fops,
};
module_misc_device(ledger);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A device that notes what is done with it");
