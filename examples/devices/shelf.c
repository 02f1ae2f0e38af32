// SPDX-License-Identifier: GPL-2.0-only
/* A list in /proc/shelf (seq_file), /sys/kernel/shelf/count (an attribute) and /sys/kernel/debug/shelf/. */
#include <linux/debugfs.h>
#include <linux/kobject.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

struct book {
	struct list_head list;
	char title[32];
};

static LIST_HEAD(books);
static DEFINE_MUTEX(lock);
static u32 count;
static struct dentry *directory;
static struct kobject *kobj;

static void *shelf_start(struct seq_file *seq, loff_t *pos)
{
	mutex_lock(&lock);
	return seq_list_start_head(&books, *pos);
}

static void *shelf_next(struct seq_file *seq, void *at, loff_t *pos)
{
	return seq_list_next(at, &books, pos);
}

static void shelf_stop(struct seq_file *seq, void *at)
{
	mutex_unlock(&lock);
}

static int shelf_show(struct seq_file *seq, void *at)
{
	if (at == &books)
		seq_puts(seq, "books:\n");
	else
		seq_printf(seq, "- %s\n", list_entry(at, struct book, list)->title);
	return 0;
}

static const struct seq_operations shelf_seq = {
	.start = shelf_start,
	.next = shelf_next,
	.stop = shelf_stop,
	.show = shelf_show,
};

static int shelf_open(struct inode *inode, struct file *file)
{
	return seq_open(file, &shelf_seq);
}

static ssize_t shelf_write(struct file *file, const char __user *from, size_t size, loff_t *pos)
{
	struct book *book;
	size_t length = min(size, sizeof(book->title) - 1);

	book = kzalloc(sizeof(*book), GFP_KERNEL);
	if (!book)
		return -ENOMEM;
	if (copy_from_user(book->title, from, length)) {
		kfree(book);
		return -EFAULT;
	}
	strim(book->title);
	mutex_lock(&lock);
	list_add_tail(&book->list, &books);
	count++;
	mutex_unlock(&lock);
	return size;
}

static const struct proc_ops shelf_proc = {
	.proc_open = shelf_open,
	.proc_read = seq_read,
	.proc_write = shelf_write,
	.proc_lseek = seq_lseek,
	.proc_release = seq_release,
};

static ssize_t count_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", count);
}

static void clear(void)
{
	struct book *book, *next;

	mutex_lock(&lock);
	list_for_each_entry_safe(book, next, &books, list)
		kfree(book);
	INIT_LIST_HEAD(&books);
	count = 0;
	mutex_unlock(&lock);
}

static ssize_t count_store(struct kobject *kobj, struct kobj_attribute *attr, const char *buf, size_t size)
{
	unsigned int value;
	int ret = kstrtouint(buf, 0, &value);

	if (ret)
		return ret;
	if (value)
		return -EINVAL;
	clear();
	return size;
}

static struct kobj_attribute count_attribute = __ATTR_RW(count);

static int __init shelf_init(void)
{
	int ret;

	kobj = kobject_create_and_add("shelf", kernel_kobj);
	if (!kobj)
		return -ENOMEM;
	ret = sysfs_create_file(kobj, &count_attribute.attr);
	if (!ret && !proc_create("shelf", 0644, NULL, &shelf_proc))
		ret = -ENOMEM;
	if (ret) {
		kobject_put(kobj);
		return ret;
	}
	directory = debugfs_create_dir("shelf", NULL);
	debugfs_create_u32("count", 0444, directory, &count);
	return 0;
}

static void __exit shelf_exit(void)
{
	debugfs_remove_recursive(directory);
	remove_proc_entry("shelf", NULL);
	kobject_put(kobj);
	clear();
}

module_init(shelf_init);
module_exit(shelf_exit);
MODULE_DESCRIPTION("A list in procfs, sysfs and debugfs");
MODULE_LICENSE("GPL");
