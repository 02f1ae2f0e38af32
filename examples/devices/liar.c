// SPDX-License-Identifier: GPL-2.0-only
/* /dev/liar: what its operations return is the parameter "result", whatever they did; "pfn" is what it maps. */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/poll.h>

static long result;
module_param(result, long, 0644);
MODULE_PARM_DESC(result, "what each operation returns");
static unsigned long pfn;
module_param(pfn, ulong, 0644);
MODULE_PARM_DESC(pfn, "the page frame that is mapped");
static unsigned long page;
module_param(page, ulong, 0644);
MODULE_PARM_DESC(page, "the struct page that a page fault gets; 0: pfn is mapped at once");
static char *name = "";
module_param(name, charp, 0644);
MODULE_PARM_DESC(name, "the name that the directory has, without an end");

static ssize_t liar_read(struct file *file, char __user *to, size_t count, loff_t *pos)
{
	return result;
}

static ssize_t liar_write(struct file *file, const char __user *from, size_t count, loff_t *pos)
{
	return result;
}

static long liar_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	return result;
}

static loff_t liar_llseek(struct file *file, loff_t offset, int whence)
{
	return result;
}

static __poll_t liar_poll(struct file *file, poll_table *table)
{
	return result;
}

static int liar_fsync(struct file *file, loff_t start, loff_t end, int datasync)
{
	return result;
}

static int liar_iterate(struct file *file, struct dir_context *context)
{
	while (dir_emit(context, name, strlen(name), 1, result))
		context->pos++;
	return 0;
}

static vm_fault_t liar_fault(struct vm_fault *fault)
{
	fault->page = (struct page *)page;
	return result;
}

static const struct vm_operations_struct liar_vm_ops = { .fault = liar_fault };

static int liar_mmap(struct file *file, struct vm_area_struct *vma)
{
	if (page) {
		vma->vm_ops = &liar_vm_ops;
		return 0;
	}
	return remap_pfn_range(vma, vma->vm_start, pfn, vma->vm_end - vma->vm_start, vma->vm_page_prot);
}

static unsigned long liar_area(struct file *file, unsigned long at, unsigned long size, unsigned long offset,
			       unsigned long flags)
{
	return result ? result : current->mm->get_unmapped_area(file, at, size, offset, flags);
}

static const struct file_operations liar_fops = {
	.owner = THIS_MODULE,
	.read = liar_read,
	.write = liar_write,
	.unlocked_ioctl = liar_ioctl,
	.llseek = liar_llseek,
	.poll = liar_poll,
	.fsync = liar_fsync,
	.iterate_shared = liar_iterate,
	.mmap = liar_mmap,
	.get_unmapped_area = liar_area,
};

static struct miscdevice liar = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "liar",
	.fops = &liar_fops,
	.mode = 0666,
};

module_misc_device(liar);
MODULE_DESCRIPTION("A character device that lies");
MODULE_LICENSE("GPL");
