// SPDX-License-Identifier: GPL-2.0-only
/* grovefs: a file system of its own in memory, with counters that are read and written. */
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/uaccess.h>

static atomic_t trees[3];

static int grove_open(struct inode *inode, struct file *file)
{
	file->private_data = &trees[inode->i_ino - 2];
	return 0;
}

static ssize_t grove_read(struct file *file, char __user *to, size_t count, loff_t *pos)
{
	char text[16];
	int value = *pos ? 0 : atomic_fetch_inc((atomic_t *)file->private_data);
	int size = scnprintf(text, sizeof(text), "%d\n", value);

	return simple_read_from_buffer(to, count, pos, text, *pos ? 0 : size);
}

static ssize_t grove_write(struct file *file, const char __user *from, size_t count, loff_t *pos)
{
	int value, ret = kstrtoint_from_user(from, count, 0, &value);

	if (ret)
		return ret;
	atomic_set((atomic_t *)file->private_data, value);
	return count;
}

static const struct file_operations grove_fops = { .open = grove_open, .read = grove_read, .write = grove_write };

static int grove_fill(struct super_block *sb, struct fs_context *fc)
{
	static const struct tree_descr files[] = {
		[2] = { "oak", &grove_fops, 0644 }, [3] = { "elm", &grove_fops, 0600 }, [4] = { "" },
	};

	return simple_fill_super(sb, 0x67726f76, files);
}

static int grove_get_tree(struct fs_context *fc)
{
	return get_tree_single(fc, grove_fill);
}

static const struct fs_context_operations grove_context = { .get_tree = grove_get_tree };

static int grove_init_context(struct fs_context *fc)
{
	fc->ops = &grove_context;
	return 0;
}

static struct file_system_type grove = {
	.owner = THIS_MODULE,
	.name = "grovefs",
	.init_fs_context = grove_init_context,
	.kill_sb = kill_litter_super,
};

static int __init grove_init(void)
{
	return register_filesystem(&grove);
}

static void __exit grove_exit(void)
{
	unregister_filesystem(&grove);
}

module_init(grove_init);
module_exit(grove_exit);
MODULE_ALIAS_FS("grovefs");
MODULE_DESCRIPTION("A file system");
MODULE_LICENSE("GPL");
