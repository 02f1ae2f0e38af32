// SPDX-License-Identifier: GPL-2.0-only
/* /dev/window: pages that programs map. An offset of 0 maps them at once, others as they are touched. */
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>

#define PAGES 4

static char *memory;

static vm_fault_t window_fault(struct vm_fault *vmf)
{
	unsigned long n = vmf->pgoff - 1;

	pr_info("window: fault on page %lu, %s\n", n, vmf->flags & FAULT_FLAG_WRITE ? "write" : "read");
	if (n >= PAGES)
		return VM_FAULT_SIGBUS;
	vmf->page = virt_to_page(memory + n * PAGE_SIZE);
	get_page(vmf->page);
	return 0;
}

static void window_vm_open(struct vm_area_struct *vma)
{
	pr_info("window: mapped, %lu pages\n", vma_pages(vma));
}

static void window_vm_close(struct vm_area_struct *vma)
{
	pr_info("window: unmapped\n");
}

static const struct vm_operations_struct window_vm_ops = {
	.open = window_vm_open,
	.close = window_vm_close,
	.fault = window_fault,
};

static int window_mmap(struct file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &window_vm_ops;
	window_vm_open(vma);
	if (vma->vm_pgoff)
		return 0;
	if (vma_pages(vma) > PAGES)
		return -EINVAL;
	return remap_pfn_range(vma, vma->vm_start, virt_to_phys(memory) >> PAGE_SHIFT,
			       vma->vm_end - vma->vm_start, vma->vm_page_prot);
}

static ssize_t window_read(struct file *file, char __user *to, size_t count, loff_t *pos)
{
	return simple_read_from_buffer(to, count, pos, memory, PAGES * PAGE_SIZE);
}

static const struct file_operations window_fops = {
	.owner = THIS_MODULE,
	.read = window_read,
	.mmap = window_mmap,
	.llseek = default_llseek,
};

static struct miscdevice window = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "window",
	.fops = &window_fops,
};

static int __init window_init(void)
{
	int ret;

	memory = alloc_pages_exact(PAGES * PAGE_SIZE, GFP_KERNEL | __GFP_ZERO);
	if (!memory)
		return -ENOMEM;
	strcpy(memory, "kernel");
	ret = misc_register(&window);
	if (ret)
		free_pages_exact(memory, PAGES * PAGE_SIZE);
	return ret;
}

static void __exit window_exit(void)
{
	misc_deregister(&window);
	free_pages_exact(memory, PAGES * PAGE_SIZE);
}

module_init(window_init);
module_exit(window_exit);
MODULE_DESCRIPTION("Pages that programs map");
MODULE_LICENSE("GPL");
