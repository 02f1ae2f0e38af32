// SPDX-License-Identifier: GPL-2.0-only
/* /dev/marks: a number that is written is a trace event of the module's own, and an argument of marks_note(). */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>

#define CREATE_TRACE_POINTS
#include "marks.h"

/* For probes that a user defines. */
noinline int marks_note(int number);

noinline int marks_note(int number)
{
	trace_mark_made(number, number & 1 ? "odd" : "even");
	return number;
}

static ssize_t marks_write(struct file *file, const char __user *from, size_t count, loff_t *pos)
{
	int number, error = kstrtoint_from_user(from, count, 0, &number);

	if (error)
		return error;
	marks_note(number);
	return count;
}

static const struct file_operations marks_fops = {
	.owner = THIS_MODULE,
	.write = marks_write,
};

static struct miscdevice marks = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "marks",
	.fops = &marks_fops,
};
module_misc_device(marks);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A trace event, and a function to be probed");
