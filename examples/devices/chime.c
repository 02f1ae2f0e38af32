// SPDX-License-Identifier: GPL-2.0-only
/* /dev/chime: a timer that adds to the eventfd of its caller, or sends it a signal, each 10 ms. */
#include <linux/eventfd.h>
#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/version.h>
#include <linux/workqueue.h>

#define CHIME_EVENTFD _IO('c', 0) /* three times, to the eventfd of this number */
#define CHIME_SIGNAL _IO('c', 1) /* this signal, three times, with the count in si_int */
#define CHIME_INFO _IO('c', 2) /* this signal, now, without a siginfo */

static DEFINE_MUTEX(lock);
static struct eventfd_ctx *context;
static struct pid *target;
static struct hrtimer timer;
static struct work_struct sender;
static int number, count;

static void ring(struct work_struct *work)
{
	struct kernel_siginfo info = { .si_signo = number, .si_code = SI_QUEUE, .si_int = count };
	struct task_struct *task = get_pid_task(target, PIDTYPE_PID);

	if (!task)
		return;
	send_sig_info(number, &info, task);
	put_task_struct(task);
}

static enum hrtimer_restart expired(struct hrtimer *timer)
{
	count++;
	if (context)
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
		eventfd_signal(context);
#else
		eventfd_signal(context, 1);
#endif
	if (number)
		schedule_work(&sender);
	hrtimer_forward_now(timer, ms_to_ktime(10));
	return count < 3 ? HRTIMER_RESTART : HRTIMER_NORESTART;
}

static void silence(void)
{
	hrtimer_cancel(&timer);
	cancel_work_sync(&sender);
	if (context)
		eventfd_ctx_put(context);
	context = NULL;
	put_pid(target);
	target = NULL;
	number = count = 0;
}

static long chime_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	long ret = 0;

	mutex_lock(&lock);
	silence();
	switch (cmd) {
	case CHIME_EVENTFD:
		context = eventfd_ctx_fdget(arg);
		if (IS_ERR(context)) {
			ret = PTR_ERR(context);
			context = NULL;
		}
		break;
	case CHIME_SIGNAL:
		if (!valid_signal(arg) || !arg)
			ret = -EINVAL;
		else
			number = arg;
		break;
	case CHIME_INFO:
		ret = send_sig(arg, current, 0);
		goto out;
	default:
		ret = -ENOTTY;
	}
	if (!ret) {
		target = get_task_pid(current, PIDTYPE_PID);
		hrtimer_start(&timer, ms_to_ktime(10), HRTIMER_MODE_REL);
	}
out:
	mutex_unlock(&lock);
	return ret;
}

static int chime_release(struct inode *inode, struct file *file)
{
	mutex_lock(&lock);
	silence();
	mutex_unlock(&lock);
	return 0;
}

static const struct file_operations chime_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = chime_ioctl,
	.release = chime_release,
	.llseek = noop_llseek,
};

static struct miscdevice chime = { .minor = MISC_DYNAMIC_MINOR, .name = "chime", .fops = &chime_fops };

static int __init chime_init(void)
{
	INIT_WORK(&sender, ring);
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
	hrtimer_setup(&timer, expired, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
#else
	hrtimer_init(&timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	timer.function = expired;
#endif
	return misc_register(&chime);
}

static void __exit chime_exit(void)
{
	misc_deregister(&chime);
	silence();
}

module_init(chime_init);
module_exit(chime_exit);
MODULE_DESCRIPTION("A timer for eventfds and signals");
MODULE_LICENSE("GPL");
