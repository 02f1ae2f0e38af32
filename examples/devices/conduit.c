// SPDX-License-Identifier: GPL-2.0-only
/* /dev/conduit: a pipe as a character device, with blocking reads and writes, poll and SIGIO. */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

static char buffer[16];
static size_t start, length;
static DEFINE_MUTEX(lock);
static DECLARE_WAIT_QUEUE_HEAD(readers);
static DECLARE_WAIT_QUEUE_HEAD(writers);
static struct fasync_struct *async;

static ssize_t conduit_read(struct file *file, char __user *to, size_t count, loff_t *pos)
{
	if (mutex_lock_interruptible(&lock))
		return -ERESTARTSYS;
	while (!length) {
		mutex_unlock(&lock);
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		if (wait_event_interruptible(readers, length))
			return -ERESTARTSYS;
		if (mutex_lock_interruptible(&lock))
			return -ERESTARTSYS;
	}
	count = min3(count, length, sizeof(buffer) - start);
	if (copy_to_user(to, buffer + start, count)) {
		mutex_unlock(&lock);
		return -EFAULT;
	}
	start = (start + count) % sizeof(buffer);
	length -= count;
	mutex_unlock(&lock);
	wake_up_interruptible(&writers);
	return count;
}

static ssize_t conduit_write(struct file *file, const char __user *from, size_t count, loff_t *pos)
{
	size_t end;

	if (mutex_lock_interruptible(&lock))
		return -ERESTARTSYS;
	while (length == sizeof(buffer)) {
		mutex_unlock(&lock);
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		if (wait_event_interruptible(writers, length < sizeof(buffer)))
			return -ERESTARTSYS;
		if (mutex_lock_interruptible(&lock))
			return -ERESTARTSYS;
	}
	end = (start + length) % sizeof(buffer);
	count = min3(count, sizeof(buffer) - length, sizeof(buffer) - end);
	if (copy_from_user(buffer + end, from, count)) {
		mutex_unlock(&lock);
		return -EFAULT;
	}
	length += count;
	mutex_unlock(&lock);
	wake_up_interruptible(&readers);
	kill_fasync(&async, SIGIO, POLL_IN);
	return count;
}

static __poll_t conduit_poll(struct file *file, poll_table *table)
{
	poll_wait(file, &readers, table);
	poll_wait(file, &writers, table);
	return (length ? EPOLLIN | EPOLLRDNORM : 0) | (length < sizeof(buffer) ? EPOLLOUT | EPOLLWRNORM : 0);
}

static int conduit_fasync(int fd, struct file *file, int on)
{
	return fasync_helper(fd, file, on, &async);
}

static int conduit_release(struct inode *inode, struct file *file)
{
	conduit_fasync(-1, file, 0);
	pr_info("conduit: released\n");
	return 0;
}

static const struct file_operations conduit_fops = {
	.owner = THIS_MODULE,
	.read = conduit_read,
	.write = conduit_write,
	.poll = conduit_poll,
	.fasync = conduit_fasync,
	.release = conduit_release,
	.llseek = no_llseek,
};

static struct miscdevice conduit = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "conduit",
	.fops = &conduit_fops,
	.mode = 0666,
};

module_misc_device(conduit);
MODULE_DESCRIPTION("A pipe as a character device");
MODULE_LICENSE("GPL");
