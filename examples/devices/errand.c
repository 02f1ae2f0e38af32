// SPDX-License-Identifier: GPL-2.0-only
/* /dev/errand: a kernel thread works in the memory of the process that sends it: kthread_use_mm(). */
#include <linux/completion.h>
#include <linux/fs.h>
#include <linux/kthread.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/uaccess.h>

#define ERRAND_DOUBLE _IO('e', 0) /* doubles the int at the address */

struct errand {
	struct mm_struct *mm;
	int __user *where;
	int result;
	struct completion done;
};

static int run(void *data)
{
	struct errand *errand = data;
	int value;

	pr_info("errand: %s has %s memory\n", current->comm, current->mm ? "a process's" : "no");
	kthread_use_mm(errand->mm);
	pr_info("errand: now it has %s\n", current->mm == errand->mm ? "the sender's" : "another");
	errand->result = -EFAULT;
	if (!get_user(value, errand->where) && !put_user(2 * value, errand->where))
		errand->result = value;
	kthread_unuse_mm(errand->mm);
	pr_info("errand: then %s\n", current->mm ? "still some" : "none");
	complete(&errand->done);
	return 0;
}

static long errand_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct errand errand = { .where = (int __user *)arg };
	struct task_struct *task;

	if (cmd != ERRAND_DOUBLE)
		return -ENOTTY;
	if (!current->mm)
		return -EINVAL;
	init_completion(&errand.done);
	errand.mm = current->mm;
	mmget(errand.mm);
	task = kthread_run(run, &errand, "errand");
	if (IS_ERR(task)) {
		mmput(errand.mm);
		return PTR_ERR(task);
	}
	wait_for_completion(&errand.done);
	mmput(errand.mm);
	return errand.result;
}

static const struct file_operations errand_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = errand_ioctl,
};

static struct miscdevice errand = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "errand",
	.fops = &errand_fops,
};

static int __init errand_init(void)
{
	pr_info("errand: %s has %s memory\n", current->comm, current->mm ? "its own" : "no");
	return misc_register(&errand);
}

static void __exit errand_exit(void)
{
	pr_info("errand: %s has %s memory\n", current->comm, current->mm ? "its own" : "no");
	misc_deregister(&errand);
}

module_init(errand_init);
module_exit(errand_exit);
MODULE_DESCRIPTION("A kernel thread in a process's memory");
MODULE_LICENSE("GPL");
