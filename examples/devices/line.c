// SPDX-License-Identifier: GPL-2.0-only
/* /dev/line0: a terminal whose other end answers what is written in capital letters. */
#include <linux/ctype.h>
#include <linux/module.h>
#include <linux/tty.h>
#include <linux/tty_driver.h>
#include <linux/tty_flip.h>
#include <linux/version.h>

static struct tty_driver *driver;
static struct tty_port port;

static int line_activate(struct tty_port *port, struct tty_struct *tty)
{
	pr_info("line: activated\n");
	return 0;
}

static void line_shutdown(struct tty_port *port)
{
	pr_info("line: shut down\n");
}

static const struct tty_port_operations line_port_ops = { .activate = line_activate, .shutdown = line_shutdown };

static int line_open(struct tty_struct *tty, struct file *file)
{
	return tty_port_open(&port, tty, file);
}

static void line_close(struct tty_struct *tty, struct file *file)
{
	tty_port_close(&port, tty, file);
}

static void line_hangup(struct tty_struct *tty)
{
	tty_port_hangup(&port);
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
static ssize_t line_write(struct tty_struct *tty, const u8 *text, size_t count)
#else
static int line_write(struct tty_struct *tty, const unsigned char *text, int count)
#endif
{
	int n;

	for (n = 0; n < count; n++) {
		if (text[n] == '!') {
			tty_hangup(tty);
			return count;
		}
		tty_insert_flip_char(&port, toupper(text[n]), text[n] == '~' ? TTY_BREAK : TTY_NORMAL);
	}
	tty_flip_buffer_push(&port);
	return count;
}

static unsigned int line_write_room(struct tty_struct *tty)
{
	return 64;
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 1, 0)
static void line_set_termios(struct tty_struct *tty, const struct ktermios *old)
#else
static void line_set_termios(struct tty_struct *tty, struct ktermios *old)
#endif
{
	pr_info("line: %u baud\n", tty_get_baud_rate(tty));
}

static int line_tiocmget(struct tty_struct *tty)
{
	return TIOCM_CTS | TIOCM_CAR;
}

static const struct tty_operations line_ops = {
	.open = line_open,
	.close = line_close,
	.hangup = line_hangup,
	.write = line_write,
	.write_room = line_write_room,
	.set_termios = line_set_termios,
	.tiocmget = line_tiocmget,
};

static int __init line_init(void)
{
	struct device *device;
	int ret;

	driver = tty_alloc_driver(1, TTY_DRIVER_REAL_RAW | TTY_DRIVER_DYNAMIC_DEV);
	if (IS_ERR(driver))
		return PTR_ERR(driver);
	driver->driver_name = "line";
	driver->name = "line";
	driver->type = TTY_DRIVER_TYPE_SERIAL;
	driver->subtype = SERIAL_TYPE_NORMAL;
	driver->init_termios = tty_std_termios;
	tty_set_operations(driver, &line_ops);
	tty_port_init(&port);
	port.ops = &line_port_ops;
	ret = tty_register_driver(driver);
	if (ret)
		goto put;
	device = tty_port_register_device(&port, driver, 0, NULL);
	if (!IS_ERR(device))
		return 0;
	ret = PTR_ERR(device);
	tty_unregister_driver(driver);
put:
	tty_driver_kref_put(driver);
	tty_port_destroy(&port);
	return ret;
}

static void __exit line_exit(void)
{
	tty_unregister_device(driver, 0);
	tty_unregister_driver(driver);
	tty_driver_kref_put(driver);
	tty_port_destroy(&port);
}

module_init(line_init);
module_exit(line_exit);
MODULE_DESCRIPTION("A terminal");
MODULE_LICENSE("GPL");
