// SPDX-License-Identifier: GPL-2.0-only
/* /dev/uio0: a device for a driver in user space, with a page of registers and an interrupt each 10 ms. */
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/timer.h>
#include <linux/uio_driver.h>
#include <linux/version.h>

static struct platform_device *device;
static struct timer_list timer;
static bool enabled;
static u32 *registers;

static int port_irqcontrol(struct uio_info *info, s32 on)
{
	pr_info("port: interrupts %s\n", on ? "on" : "off");
	enabled = on;
	if (on)
		mod_timer(&timer, jiffies + HZ / 100);
	return 0;
}

static struct uio_info info = { .name = "port", .version = "1.0", .irq = UIO_IRQ_CUSTOM, .irqcontrol = port_irqcontrol };

static void expired(struct timer_list *timer)
{
	registers[0]++;
	uio_event_notify(&info);
	if (enabled && registers[0] % 3)
		mod_timer(timer, jiffies + HZ / 100);
}

static int __init port_init(void)
{
	int ret;

	registers = (u32 *)get_zeroed_page(GFP_KERNEL);
	if (!registers)
		return -ENOMEM;
	registers[1] = 0x706f7274;
	timer_setup(&timer, expired, 0);
	device = platform_device_register_simple("port", PLATFORM_DEVID_NONE, NULL, 0);
	ret = PTR_ERR_OR_ZERO(device);
	if (ret)
		goto free;
	info.mem[0].name = "registers";
	info.mem[0].addr = (phys_addr_t)registers;
	info.mem[0].size = PAGE_SIZE;
	info.mem[0].memtype = UIO_MEM_LOGICAL;
	ret = uio_register_device(&device->dev, &info);
	if (!ret)
		return 0;
	platform_device_unregister(device);
free:
	free_page((unsigned long)registers);
	return ret;
}

static void __exit port_exit(void)
{
	uio_unregister_device(&info);
	enabled = false;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
	timer_delete_sync(&timer);
#else
	del_timer_sync(&timer);
#endif
	platform_device_unregister(device);
	free_page((unsigned long)registers);
}

module_init(port_init);
module_exit(port_exit);
MODULE_DESCRIPTION("A device for a driver in user space");
MODULE_LICENSE("GPL");
