// SPDX-License-Identifier: GPL-2.0-only
/* /dev/ware: what is written is the name of the firmware that is loaded, and read then; "later NAME": by a worker. */
#include <linux/firmware.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/uaccess.h>

static DEFINE_MUTEX(lock);
static const struct firmware *firmware;
static DECLARE_COMPLETION(arrived);
static struct miscdevice ware;

static void arrive(const struct firmware *found, void *context)
{
	pr_info("ware: %zu bytes have arrived\n", found ? found->size : 0);
	firmware = found;
	complete(&arrived);
}

static ssize_t ware_write(struct file *file, const char __user *from, size_t count, loff_t *pos)
{
	char name[64] = "";
	int ret;

	if (count >= sizeof(name))
		return -ENAMETOOLONG;
	if (copy_from_user(name, from, count))
		return -EFAULT;
	mutex_lock(&lock);
	release_firmware(firmware);
	firmware = NULL;
	if (!strncmp(name, "later ", 6)) {
		reinit_completion(&arrived);
		ret = request_firmware_nowait(THIS_MODULE, true, name + 6, ware.this_device, GFP_KERNEL, NULL, arrive);
		if (!ret)
			wait_for_completion(&arrived);
	} else if (*name == '?') {
		ret = firmware_request_nowarn(&firmware, name + 1, ware.this_device);
	} else {
		ret = request_firmware(&firmware, name, ware.this_device);
	}
	mutex_unlock(&lock);
	return ret ? ret : count;
}

static ssize_t ware_read(struct file *file, char __user *to, size_t count, loff_t *pos)
{
	ssize_t done = -ENODATA;

	mutex_lock(&lock);
	if (firmware)
		done = simple_read_from_buffer(to, count, pos, firmware->data, firmware->size);
	mutex_unlock(&lock);
	return done;
}

static const struct file_operations ware_fops = { .owner = THIS_MODULE, .read = ware_read, .write = ware_write };

static struct miscdevice ware = { .minor = MISC_DYNAMIC_MINOR, .name = "ware", .fops = &ware_fops };

static int __init ware_init(void)
{
	return misc_register(&ware);
}

static void __exit ware_exit(void)
{
	misc_deregister(&ware);
	release_firmware(firmware);
}

module_init(ware_init);
module_exit(ware_exit);
MODULE_DESCRIPTION("A loader of firmware");
MODULE_LICENSE("GPL");
