// SPDX-License-Identifier: GPL-2.0-only
/* Memory as a character device: /dev/quanta0 and /dev/quanta1 keep what is written in quanta of equal size. */
#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/version.h>

#define DEVICES 2
#define MAX_QUANTA 64

#define QUANTA_RESET _IO('q', 0)
#define QUANTA_SET _IOW('q', 1, int) /* the quantum's size by pointer */
#define QUANTA_TELL _IO('q', 2) /* ... by value */
#define QUANTA_GET _IOR('q', 3, int) /* ... to a pointer */
#define QUANTA_QUERY _IO('q', 4) /* ... as the result */
#define QUANTA_EXCHANGE _IOWR('q', 5, int)

struct quanta {
	struct mutex lock;
	int quantum; /* of what is written next to an empty device */
	int used; /* of what it holds */
	loff_t size;
	char *data[MAX_QUANTA];
	struct cdev cdev;
};

static int quantum = 16;
module_param(quantum, int, 0444);
MODULE_PARM_DESC(quantum, "bytes in a quantum");

static struct quanta devices[DEVICES];
static dev_t first;
static struct class *class;

static void trim(struct quanta *q)
{
	int n;

	for (n = 0; n < MAX_QUANTA; n++) {
		kfree(q->data[n]);
		q->data[n] = NULL;
	}
	q->size = 0;
	q->used = q->quantum;
}

static int quanta_open(struct inode *inode, struct file *file)
{
	struct quanta *q = container_of(inode->i_cdev, struct quanta, cdev);

	file->private_data = q;
	if ((file->f_flags & O_ACCMODE) == O_WRONLY && !(file->f_flags & O_APPEND)) {
		if (mutex_lock_interruptible(&q->lock))
			return -ERESTARTSYS;
		trim(q);
		mutex_unlock(&q->lock);
	}
	return 0;
}

static ssize_t quanta_read(struct file *file, char __user *to, size_t count, loff_t *pos)
{
	struct quanta *q = file->private_data;
	ssize_t done = 0;
	int n, offset;

	if (mutex_lock_interruptible(&q->lock))
		return -ERESTARTSYS;
	if (*pos >= q->size)
		goto out;
	n = *pos / q->used;
	offset = *pos % q->used;
	if (n >= MAX_QUANTA || !q->data[n])
		goto out;
	/* No more than to the end of a quantum. */
	count = min3(count, (size_t)(q->used - offset), (size_t)(q->size - *pos));
	if (copy_to_user(to, q->data[n] + offset, count)) {
		done = -EFAULT;
		goto out;
	}
	*pos += count;
	done = count;
out:
	mutex_unlock(&q->lock);
	return done;
}

static ssize_t quanta_write(struct file *file, const char __user *from, size_t count, loff_t *pos)
{
	struct quanta *q = file->private_data;
	ssize_t done;
	int n, offset;

	if (mutex_lock_interruptible(&q->lock))
		return -ERESTARTSYS;
	n = *pos / q->used;
	offset = *pos % q->used;
	done = -ENOSPC;
	if (n >= MAX_QUANTA)
		goto out;
	if (!q->data[n])
		q->data[n] = kzalloc(q->used, GFP_KERNEL);
	done = -ENOMEM;
	if (!q->data[n])
		goto out;
	count = min(count, (size_t)(q->used - offset));
	done = -EFAULT;
	if (copy_from_user(q->data[n] + offset, from, count))
		goto out;
	*pos += count;
	q->size = max(q->size, *pos);
	done = count;
out:
	mutex_unlock(&q->lock);
	return done;
}

static loff_t quanta_llseek(struct file *file, loff_t offset, int whence)
{
	struct quanta *q = file->private_data;

	return generic_file_llseek_size(file, offset, whence, (loff_t)MAX_QUANTA * q->used, q->size);
}

static bool is_quantum(int size)
{
	return size > 0 && size <= PAGE_SIZE;
}

static long quanta_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct quanta *q = file->private_data;
	int size, before = q->quantum;

	switch (cmd) {
	case QUANTA_RESET:
		q->quantum = quantum;
		return 0;
	case QUANTA_SET:
	case QUANTA_EXCHANGE:
		if (!capable(CAP_SYS_ADMIN))
			return -EPERM;
		if (get_user(size, (int __user *)arg))
			return -EFAULT;
		if (!is_quantum(size))
			return -EINVAL;
		q->quantum = size;
		return cmd == QUANTA_EXCHANGE ? put_user(before, (int __user *)arg) : 0;
	case QUANTA_TELL:
		if (!capable(CAP_SYS_ADMIN))
			return -EPERM;
		if (arg > PAGE_SIZE || !is_quantum(arg))
			return -EINVAL;
		q->quantum = arg;
		return 0;
	case QUANTA_GET:
		return put_user(q->quantum, (int __user *)arg);
	case QUANTA_QUERY:
		return q->quantum;
	}
	return -ENOTTY;
}

static const struct file_operations quanta_fops = {
	.owner = THIS_MODULE,
	.open = quanta_open,
	.read = quanta_read,
	.write = quanta_write,
	.llseek = quanta_llseek,
	.unlocked_ioctl = quanta_ioctl,
};

static int __init quanta_init(void)
{
	int n, ret;

	if (!is_quantum(quantum))
		return -EINVAL;
	ret = alloc_chrdev_region(&first, 0, DEVICES, "quanta");
	if (ret)
		return ret;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
	class = class_create("quanta");
#else
	class = class_create(THIS_MODULE, "quanta");
#endif
	if (IS_ERR(class)) {
		unregister_chrdev_region(first, DEVICES);
		return PTR_ERR(class);
	}
	for (n = 0; n < DEVICES; n++) {
		struct quanta *q = &devices[n];

		mutex_init(&q->lock);
		q->quantum = q->used = quantum;
		cdev_init(&q->cdev, &quanta_fops);
		q->cdev.owner = THIS_MODULE;
		ret = cdev_add(&q->cdev, first + n, 1);
		WARN_ON(ret);
		device_create(class, NULL, first + n, NULL, "quanta%d", n);
	}
	return 0;
}

static void __exit quanta_exit(void)
{
	int n;

	for (n = 0; n < DEVICES; n++) {
		device_destroy(class, first + n);
		cdev_del(&devices[n].cdev);
		trim(&devices[n]);
	}
	class_destroy(class);
	unregister_chrdev_region(first, DEVICES);
}

module_init(quanta_init);
module_exit(quanta_exit);
MODULE_DESCRIPTION("Memory as a character device");
MODULE_LICENSE("GPL");
