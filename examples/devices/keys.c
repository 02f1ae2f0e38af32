// SPDX-License-Identifier: GPL-2.0-only
/* Three buttons and a wheel: /sys/kernel/debug/press takes the code of a key, or the turns of the wheel. */
#include <linux/debugfs.h>
#include <linux/input.h>
#include <linux/module.h>

static struct input_dev *keys;
static struct dentry *file;

static int press(void *data, u64 value)
{
	int code = value;

	if (code < 0) {
		input_report_rel(keys, REL_WHEEL, code);
		input_sync(keys);
		return 0;
	}
	input_report_key(keys, code, 1);
	input_sync(keys);
	input_report_key(keys, code, 0);
	input_sync(keys);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE_SIGNED(press_fops, NULL, press, "%lld\n");

static int keys_open(struct input_dev *dev)
{
	pr_info("keys: opened\n");
	return 0;
}

static void keys_close(struct input_dev *dev)
{
	pr_info("keys: closed\n");
}

static int keys_event(struct input_dev *dev, unsigned int type, unsigned int code, int value)
{
	if (type == EV_LED)
		pr_info("keys: LED %u is %s\n", code, value ? "on" : "off");
	return 0;
}

static int __init keys_init(void)
{
	int ret;

	keys = input_allocate_device();
	if (!keys)
		return -ENOMEM;
	keys->name = "Three buttons";
	keys->phys = "keys/input0";
	keys->id.bustype = BUS_VIRTUAL;
	keys->id.vendor = 0x1234;
	keys->open = keys_open;
	keys->close = keys_close;
	keys->event = keys_event;
	input_set_capability(keys, EV_KEY, BTN_0);
	input_set_capability(keys, EV_KEY, BTN_1);
	input_set_capability(keys, EV_KEY, BTN_2);
	input_set_capability(keys, EV_REL, REL_WHEEL);
	input_set_capability(keys, EV_LED, LED_CAPSL);
	ret = input_register_device(keys);
	if (ret)
		input_free_device(keys);
	else
		file = debugfs_create_file_unsafe("press", 0200, NULL, NULL, &press_fops);
	return ret;
}

static void __exit keys_exit(void)
{
	debugfs_remove(file);
	input_unregister_device(keys);
}

module_init(keys_init);
module_exit(keys_exit);
MODULE_DESCRIPTION("An input device");
MODULE_LICENSE("GPL");
