// SPDX-License-Identifier: GPL-2.0-only
/* /dev/mirror: one buffer of vmalloc(), which is read, written, and mapped as a whole. */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#define SIZE (3 * PAGE_SIZE)

static char *buffer, *plain;

static ssize_t mirror_read(struct file *file, char __user *to, size_t count, loff_t *pos)
{
	return simple_read_from_buffer(to, count, pos, buffer, SIZE);
}

static ssize_t mirror_write(struct file *file, const char __user *from, size_t count, loff_t *pos)
{
	return simple_write_to_buffer(buffer, SIZE, pos, from, count);
}

static int mirror_mmap(struct file *file, struct vm_area_struct *vma)
{
	/* What is not of vmalloc_user() must not be mapped. */
	if (remap_vmalloc_range(vma, plain, 0) != -EINVAL)
		return -EIO;
	return remap_vmalloc_range(vma, buffer, vma->vm_pgoff);
}

static const struct file_operations mirror_fops = {
	.owner = THIS_MODULE,
	.read = mirror_read,
	.write = mirror_write,
	.mmap = mirror_mmap,
	.llseek = default_llseek,
};

static struct miscdevice mirror = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "mirror",
	.fops = &mirror_fops,
};

static int __init mirror_init(void)
{
	int ret = -ENOMEM;

	buffer = vmalloc_user(SIZE);
	plain = vzalloc(SIZE);
	if (buffer && plain)
		ret = misc_register(&mirror);
	if (ret) {
		vfree(buffer);
		vfree(plain);
	}
	return ret;
}

static void __exit mirror_exit(void)
{
	misc_deregister(&mirror);
	vfree(buffer);
	vfree(plain);
}

module_init(mirror_init);
module_exit(mirror_exit);
MODULE_DESCRIPTION("Memory of vmalloc(), read and mapped");
MODULE_LICENSE("GPL");
