// SPDX-License-Identifier: GPL-2.0-only
/* A platform device whose attributes sleep and notify: /sys/devices/platform/gates/. */
#include <linux/completion.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/sched/signal.h>
#include <linux/version.h>
#include <linux/wait.h>

static struct platform_device *gates;
static DECLARE_WAIT_QUEUE_HEAD(queue);
static DECLARE_COMPLETION(completion);
static int level, passed, tickets;

static ssize_t level_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", level);
}

static ssize_t level_store(struct device *dev, struct device_attribute *attr, const char *buf, size_t size)
{
	int ret = kstrtoint(buf, 0, &level);

	if (ret)
		return ret;
	sysfs_notify(&dev->kobj, NULL, "level");
	kobject_uevent(&dev->kobj, KOBJ_CHANGE);
	return size;
}
static DEVICE_ATTR_RW(level);

/* A reader waits for a ticket; each ticket wakes one. */
static ssize_t ticket_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	int ret = wait_event_interruptible_exclusive(queue, tickets > 0);

	if (ret)
		return ret;
	tickets--;
	return sysfs_emit(buf, "%d\n", ++passed);
}

static ssize_t ticket_store(struct device *dev, struct device_attribute *attr, const char *buf, size_t size)
{
	int ret = kstrtoint(buf, 0, &tickets);

	if (ret)
		return ret;
	wake_up_interruptible_nr(&queue, tickets);
	return size;
}
static DEVICE_ATTR_RW(ticket);

/* A reader waits to the end of "time", for a completion or for a signal. */
static ssize_t done_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	long left = wait_for_completion_interruptible_timeout(&completion, HZ / 2);

	pr_info("gates: %s\n", left > 0 ? "complete" : left ? "interrupted" : "too late");
	if (left < 0)
		return left;
	return sysfs_emit(buf, "%d\n", left > 0);
}

static ssize_t done_store(struct device *dev, struct device_attribute *attr, const char *buf, size_t size)
{
	complete(&completion);
	return size;
}
static DEVICE_ATTR_RW(done);

static ssize_t blob_read(struct file *file, struct kobject *kobj, struct bin_attribute *attr, char *buf, loff_t at,
			 size_t count)
{
	memset(buf, 'a' + at % 26, count);
	return count;
}

static struct bin_attribute bin_attr_blob = { .attr = { .name = "blob", .mode = 0444 }, .size = 6000, .read = blob_read };

static struct attribute *gates_attrs[] = { &dev_attr_level.attr, &dev_attr_ticket.attr, &dev_attr_done.attr, NULL };
static struct bin_attribute *gates_bin_attrs[] = { &bin_attr_blob, NULL };
static const struct attribute_group gates_group = { .attrs = gates_attrs, .bin_attrs = gates_bin_attrs };
static const struct attribute_group *gates_groups[] = { &gates_group, NULL };

static int gates_probe(struct platform_device *dev)
{
	dev_info(&dev->dev, "bound\n");
	return 0;
}

static void gates_unbind(struct platform_device *dev)
{
	dev_info(&dev->dev, "unbound\n");
}

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
static int gates_remove(struct platform_device *dev)
{
	gates_unbind(dev);
	return 0;
}
#else
#define gates_remove gates_unbind
#endif

static struct platform_driver gates_driver = {
	.probe = gates_probe,
	.remove = gates_remove,
	.driver = { .name = "gates", .dev_groups = gates_groups },
};

static int __init gates_init(void)
{
	int ret = platform_driver_register(&gates_driver);

	if (ret)
		return ret;
	gates = platform_device_register_simple("gates", PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(gates))
		platform_driver_unregister(&gates_driver);
	return PTR_ERR_OR_ZERO(gates);
}

static void __exit gates_exit(void)
{
	platform_device_unregister(gates);
	platform_driver_unregister(&gates_driver);
}

module_init(gates_init);
module_exit(gates_exit);
MODULE_DESCRIPTION("Attributes that sleep and notify");
MODULE_LICENSE("GPL");
