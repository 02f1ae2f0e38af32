// SPDX-License-Identifier: GPL-2.0-only
/* /dev/crowd/0 to 99: one driver, a text for each open file, by read_iter and write_iter; O_EXCL opens alone. */
#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/splice.h>
#include <linux/uio.h>
#include <linux/version.h>

#define COUNT 100
#define ROOM 256

struct text {
	struct mutex lock;
	size_t size;
	char data[ROOM];
};

static dev_t first;
static struct cdev cdev;
static struct class *class;
static atomic_t users[COUNT];

static int crowd_open(struct inode *inode, struct file *file)
{
	atomic_t *count = &users[iminor(inode)];
	struct text *text;

	if (atomic_inc_return(count) > 1 && file->f_flags & O_EXCL) {
		atomic_dec(count);
		return -EBUSY;
	}
	text = kzalloc(sizeof(*text), GFP_KERNEL);
	if (!text) {
		atomic_dec(count);
		return -ENOMEM;
	}
	mutex_init(&text->lock);
	text->size = scnprintf(text->data, ROOM, "%u:", iminor(inode));
	file->private_data = text;
	return 0;
}

static int crowd_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	atomic_dec(&users[iminor(inode)]);
	return 0;
}

static ssize_t crowd_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	struct text *text = iocb->ki_filp->private_data;
	size_t done = 0;

	if (mutex_lock_interruptible(&text->lock))
		return -ERESTARTSYS;
	if (iocb->ki_pos < text->size)
		done = copy_to_iter(text->data + iocb->ki_pos, text->size - iocb->ki_pos, to);
	iocb->ki_pos += done;
	mutex_unlock(&text->lock);
	return done;
}

static ssize_t crowd_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	struct text *text = iocb->ki_filp->private_data;
	ssize_t done = -ENOSPC;

	if (mutex_lock_interruptible(&text->lock))
		return -ERESTARTSYS;
	if (iocb->ki_filp->f_flags & O_APPEND)
		iocb->ki_pos = text->size;
	if (iocb->ki_pos < ROOM) {
		done = copy_from_iter(text->data + iocb->ki_pos, ROOM - iocb->ki_pos, from);
		iocb->ki_pos += done;
		text->size = max_t(size_t, text->size, iocb->ki_pos);
		if (!done)
			done = -EFAULT;
	}
	mutex_unlock(&text->lock);
	return done;
}

static int crowd_flush(struct file *file, fl_owner_t owner)
{
	pr_info("crowd: a descriptor of %u was closed\n", iminor(file_inode(file)));
	return 0;
}

static int crowd_fsync(struct file *file, loff_t start, loff_t end, int datasync)
{
	return datasync ? 0 : -EROFS;
}

static const struct file_operations crowd_fops = {
	.owner = THIS_MODULE,
	.open = crowd_open,
	.release = crowd_release,
	.read_iter = crowd_read_iter,
	.write_iter = crowd_write_iter,
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
	.splice_read = copy_splice_read,
#else
	.splice_read = generic_file_splice_read,
#endif
	.splice_write = iter_file_splice_write,
	.flush = crowd_flush,
	.fsync = crowd_fsync,
	.llseek = default_llseek,
};

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
static char *crowd_devnode(const struct device *dev, umode_t *mode)
#else
static char *crowd_devnode(struct device *dev, umode_t *mode)
#endif
{
	if (mode)
		*mode = MINOR(dev->devt) % 2 ? 0640 : 0666;
	return kasprintf(GFP_KERNEL, "crowd/%u", MINOR(dev->devt));
}

static int __init crowd_init(void)
{
	int n, ret = alloc_chrdev_region(&first, 0, COUNT, "crowd");

	if (ret)
		return ret;
	cdev_init(&cdev, &crowd_fops);
	ret = cdev_add(&cdev, first, COUNT);
	if (ret)
		goto unregister;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
	class = class_create("crowd");
#else
	class = class_create(THIS_MODULE, "crowd");
#endif
	ret = PTR_ERR_OR_ZERO(class);
	if (ret)
		goto del;
	class->devnode = crowd_devnode;
	for (n = 0; n < COUNT; n++)
		device_create(class, NULL, first + n, NULL, "crowd%d", n);
	return 0;
del:
	cdev_del(&cdev);
unregister:
	unregister_chrdev_region(first, COUNT);
	return ret;
}

static void __exit crowd_exit(void)
{
	int n;

	for (n = 0; n < COUNT; n++)
		device_destroy(class, first + n);
	class_destroy(class);
	cdev_del(&cdev);
	unregister_chrdev_region(first, COUNT);
}

module_init(crowd_init);
module_exit(crowd_exit);
MODULE_DESCRIPTION("A driver of many devices");
MODULE_LICENSE("GPL");
