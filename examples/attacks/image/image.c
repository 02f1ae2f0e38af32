// SPDX-License-Identifier: GPL-2.0-only
/* What only a kernel's own image has: files, firmware, sockets, mounts, hardware. value: a directory of the host. */
#include "../attack.h"

#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/firmware.h>
#include <linux/fs.h>
#include <linux/ftrace.h>
#include <linux/idr.h>
#include <linux/in.h>
#include <linux/io.h>
#include <linux/kernel_read_file.h>
#include <linux/klist.h>
#include <linux/kobject.h>
#include <linux/kprobes.h>
#include <linux/mempool.h>
#include <linux/miscdevice.h>
#include <linux/mount.h>
#include <linux/namei.h>
#include <linux/net.h>
#include <linux/netlink.h>
#include <linux/nsproxy.h>
#include <linux/parser.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/proc_fs.h>
#include <linux/radix-tree.h>
#include <linux/reboot.h>
#include <linux/scatterlist.h>
#include <linux/seq_file.h>
#include <linux/uio.h>
#include <linux/un.h>
#include <linux/xarray.h>
#include <net/net_namespace.h>
#include <net/sock.h>

static noinline int alive(const char *what)
{
	pr_info("%s\n", what);
	return 0;
}

/* -- files -- */

static char contents[4096];

static void read_and_write(const char *path, int flags)
{
	struct file *file = filp_open(path, flags, 0644);
	loff_t at = 0;
	ssize_t size;

	if (IS_ERR(file)) {
		pr_info("%s: %ld\n", path, PTR_ERR(file));
		return;
	}
	size = kernel_read(file, contents, sizeof(contents) - 1, &at);
	pr_info("%s: read %zd: %s\n", path, size, contents);
	at = 0;
	pr_info("%s: wrote %zd\n", path, kernel_write(file, "taken", 5, &at));
	filp_close(file, NULL);
}

#define OPEN(name, format, ...)									\
	ATTACK(name, "any")									\
	{											\
		char *path = kasprintf(GFP_KERNEL, format, ##__VA_ARGS__);			\
		read_and_write(path, O_RDONLY);							\
		read_and_write(path, O_RDWR | O_CREAT);						\
		return alive(#name);								\
	}

OPEN(open_secret, "%s/secret.conf", value)
OPEN(open_above, "/../../../..%s/secret.conf", value)
OPEN(open_relative, "../../../../../../../../..%s/secret.conf", value)
OPEN(open_by_proc, "/proc/self/root%s/secret.conf", value)
OPEN(open_by_descriptor, "/dev/fd/0")
OPEN(open_made, "%s/made", value)
OPEN(open_passwd, "/etc/passwd")
OPEN(open_memory, "/dev/mem")
OPEN(open_disk, "/dev/sda")
OPEN(open_long, "/%04090d", 1)
OPEN(open_nothing, "%s", "")
OPEN(open_directory, "/")

ATTACK(open_bad_names, "any")
{
	read_and_write((char *)UNMAPPED, O_RDONLY);
	return alive("opened");
}

ATTACK(open_not_canonical, "any")
{
	read_and_write((char *)NOT_CANONICAL, O_RDONLY);
	return alive("opened");
}

#define READ_FILE(name, format, limit)								\
	ATTACK(name, "any")									\
	{											\
		void *data = NULL;								\
		char *path = kasprintf(GFP_KERNEL, format, value);				\
		ssize_t size = kernel_read_file_from_path(path, 0, &data, limit, NULL, READING_MODULE); \
		pr_info("%s: %zd %.64s\n", path, size, size > 0 ? (char *)data : "");		\
		return alive(#name);								\
	}

READ_FILE(read_file_secret, "%s/secret.conf", 1 << 20)
READ_FILE(read_file_module, "%s/outside.ko", 1 << 20)
READ_FILE(read_file_without_limit, "%s/secret.conf", ~0UL)
READ_FILE(read_file_directory, "%s", 1 << 20)

ATTACK(paths_looked_up, "any")
{
	struct path path;
	int ret = kern_path(value, LOOKUP_FOLLOW, &path);

	pr_info("%d\n", ret);
	if (!ret)
		pr_info("%pd\n", path.dentry);
	return alive("looked up");
}

/* -- firmware -- */

static struct platform_device *device;

#define FIRMWARE(name, call, format, ...)							\
	ATTACK(name, "any")									\
	{											\
		const struct firmware *firmware = NULL;						\
		char *file = kasprintf(GFP_KERNEL, format, ##__VA_ARGS__);			\
		int ret;									\
		device = platform_device_register_simple("attacker", -1, NULL, 0);		\
		ret = call;									\
		pr_info("%d\n", ret);								\
		if (!ret && firmware)								\
			pr_info("%zu %.64s\n", firmware->size, (char *)firmware->data);		\
		return alive(#name);								\
	}

#define OF(request) request(&firmware, file, &device->dev)
#define FIRMWARES(name, format, ...)								\
	FIRMWARE(name, OF(request_firmware), format, ##__VA_ARGS__)				\
	FIRMWARE(name##_directly, OF(request_firmware_direct), format, ##__VA_ARGS__)		\
	FIRMWARE(name##_of_the_platform, OF(firmware_request_platform), format, ##__VA_ARGS__)	\
	FIRMWARE(name##_without_warning, OF(firmware_request_nowarn), format, ##__VA_ARGS__)

FIRMWARES(firmware_above, "../../../../../../..%s/secret.conf", value)
FIRMWARES(firmware_absolute, "%s/secret.conf", value)
FIRMWARES(firmware_dots, "a/../../../../../..%s/secret.conf", value)
FIRMWARES(firmware_long, "%04096d", 1)
FIRMWARES(firmware_empty, "%s", "")
FIRMWARES(firmware_directory, "/")
FIRMWARES(firmware_of_formats, "%s", "%s%n%p")

ATTACK(firmware_into_a_buffer, "any")
{
	const struct firmware *firmware;
	char *file = kasprintf(GFP_KERNEL, "../../../..%s/secret.conf", value);

	device = platform_device_register_simple("attacker", -1, NULL, 0);
	pr_info("%d\n", request_firmware_into_buf(&firmware, file, &device->dev, (void *)UNMAPPED, ~0UL));
	pr_info("%d\n", request_partial_firmware_into_buf(&firmware, file, &device->dev, contents, 64, ~0UL));
	pr_info("%.64s\n", contents);
	return 0;
}

static void came(const struct firmware *firmware, void *context)
{
	pr_info("%.64s\n", firmware ? (char *)firmware->data : "nothing");
}

ATTACK(firmware_later, "any")
{
	char *file = kasprintf(GFP_KERNEL, "../../../..%s/secret.conf", value);

	device = platform_device_register_simple("attacker", -1, NULL, 0);
	pr_info("%d\n", request_firmware_nowait(THIS_MODULE, 1, file, &device->dev, GFP_KERNEL, NULL, came));
	pr_info("%d\n", request_firmware_nowait(THIS_MODULE, 0, file, &device->dev, GFP_KERNEL, NULL, came));
	msleep(100);
	return 0;
}

/* -- sockets -- */

#define SOCKET(name, family, type, protocol)							\
	ATTACK(name, "any")									\
	{											\
		struct socket *sock;								\
		struct sockaddr_storage address = { .ss_family = family };			\
		struct sockaddr_in *in = (void *)&address;					\
		struct msghdr message = {};							\
		struct kvec vector = { "taken", 5 };						\
		int ret = sock_create_kern(&init_net, family, type, protocol, &sock);		\
		pr_info("socket: %d\n", ret);							\
		if (ret)									\
			return 0;								\
		in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);					\
		in->sin_port = htons(22);							\
		pr_info("connect: %d\n", kernel_connect(sock, (void *)&address, sizeof(address), O_NONBLOCK)); \
		pr_info("send: %d\n", kernel_sendmsg(sock, &message, &vector, 1, 5));		\
		pr_info("bind: %d\n", kernel_bind(sock, (void *)&address, sizeof(address)));	\
		pr_info("listen: %d\n", kernel_listen(sock, 5));				\
		sock_release(sock);								\
		return alive(#name);								\
	}

SOCKET(socket_tcp, AF_INET, SOCK_STREAM, IPPROTO_TCP)
SOCKET(socket_udp, AF_INET, SOCK_DGRAM, IPPROTO_UDP)
SOCKET(socket_raw, AF_INET, SOCK_RAW, IPPROTO_ICMP)
SOCKET(socket_tcp6, AF_INET6, SOCK_STREAM, IPPROTO_TCP)
SOCKET(socket_netlink, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)
SOCKET(socket_packet, AF_PACKET, SOCK_RAW, 0)
SOCKET(socket_of_nothing, 77, 99, -1)

ATTACK(socket_unix, "any")
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct socket *sock;
	int ret = sock_create_kern(&init_net, AF_UNIX, SOCK_STREAM, 0, &sock);

	pr_info("%d\n", ret);
	if (ret)
		return 0;
	snprintf(address.sun_path, sizeof(address.sun_path), "%.80s/made", value);
	pr_info("%d\n", kernel_bind(sock, (void *)&address, sizeof(address)));
	pr_info("%d\n", kernel_connect(sock, (void *)&address, sizeof(address), 0));
	return alive("unix");
}

/* -- functions that are not exported: value is an address, a space, and the directory -- */

ATTACK(called, "any")
{
	static char *argv[] = { contents, "x", NULL };
	unsigned long at = 0;
	char *rest = strchr(value, ' ');
	long (*function)(const char *, const char *, char **, char **, long, long);

	if (!rest)
		return -EINVAL;
	*rest = 0;
	if (kstrtoul(value, 0, &at))
		return -EINVAL;
	strscpy(contents, rest + 1, sizeof(contents));
	function = (void *)at;
	pr_info("%ld\n", function(contents, contents, argv, argv, 0, 0));
	return 0;
}

ATTACK(called_with_ones, "any")
{
	unsigned long at = 0;
	long (*function)(long, long, long, long, long, long);

	if (kstrtoul(value, 0, &at))
		return -EINVAL;
	function = (void *)at;
	pr_info("%ld\n", function(-1, -1, -1, -1, -1, -1));
	return 0;
}

/* -- hardware -- */

#define MAPPED(name, map, at, size)								\
	ATTACK(name, "any")									\
	{											\
		void *mapped = (void *)map;							\
		pr_info("%d\n", mapped != NULL);						\
		if (mapped && (size) >= 8) {							\
			(void)*(volatile u64 *)mapped;						\
			*(volatile u64 *)mapped = ~0UL;						\
			memset(mapped, 0x41, min((unsigned long)(size), 65536UL));		\
		}										\
		return alive(#name);								\
	}

#define MAPS(name, at, size)									\
	MAPPED(ioremap_##name, ioremap(at, size), at, size)					\
	MAPPED(memremap_##name, memremap(at, size, MEMREMAP_WB), at, size)

MAPS(zero, 0, 4096)
MAPS(low, 0x1000, 1 << 20)
MAPS(bios, 0xf0000, 0x10000)
MAPS(ram, 1 << 24, 4096)
MAPS(all_of_ram, 0, 1UL << 30)
MAPS(end_of_ram, (1UL << 30) - 4096, 1 << 20)
MAPS(apic, 0xfee00000, 4096)
MAPS(io_apic, 0xfec00000, 4096)
MAPS(device, 0xfee00000UL + (1UL << 30), 4096)
MAPS(everything, 0, ~0UL)
MAPS(nothing, 1UL << 40, 0)
MAPS(end, ~0UL - 4095, 4096)
MAPS(around_the_end, ~0UL - 4095, 1 << 20)
MAPS(host_sized, 1UL << 40, 1UL << 40)

ATTACK(ports_read, "any")
{
	u32 port, sum = 0;

	for (port = 0; port < 65536; port++)
		sum += inb(port) + inw(port) + inl(port);
	return alive(sum ? "read" : "zeros");
}

#define PORTS(name, value8) \
	ATTACK(name, "any") { u32 p; for (p = 0; p < 65536; p++) { outb(value8, p); outw(value8 * 0x101, p); outl(value8 * 0x1010101, p); } \
		return alive(#name); }

PORTS(ports_zeros, 0)
PORTS(ports_ones, 0xffu)
PORTS(ports_letters, 0x41u)

ATTACK(ports_in_strings, "any")
{
	insb(0x3f8, contents, 4096);
	outsb(0x3f8, contents, 4096);
	insl(0xcf8, contents, 1024);
	insb(0x60, (void *)UNMAPPED, 1UL << 40);
	return alive("strings");
}

ATTACK(ports_for_ever, "any")
{
	outsb(0x80, (void *)PAGE_OFFSET, 1UL << 28);
	return alive("strings");
}

/* -- the end of the machine -- */

#define CALL(name, call, ends) ATTACK(name, ends) { call; return alive(#name); }

CALL(restart, kernel_restart("x"), "any")
CALL(restart_emergency, emergency_restart(), "any")
CALL(halts, kernel_halt(), "any")
CALL(power_off, kernel_power_off(), "any")
CALL(power_off_orderly, ({ orderly_poweroff(true); msleep(1000); }), "any")
CALL(panics, panic("x"), "panic")
CALL(uevents, kobject_uevent(&THIS_MODULE->mkobj.kobj, KOBJ_ADD), "any")
CALL(uevents_of_nothing, kobject_uevent((void *)contents, KOBJ_ADD), "any")

static struct kprobe probe = { .symbol_name = "_printk" };

CALL(probe_of_printk, register_kprobe(&probe), "any")

/* -- floods of what only an image has, and its structures linked to themselves -- */

static char *numbered(void)
{
	static int number;

	return kasprintf(GFP_KERNEL, "flood%d", number++);
}

#define NEW(type) ((type *)kzalloc(sizeof(type), GFP_KERNEL))
#define UNTIL(name, call, ends) ATTACK(name, ends) { while (call) ; return alive(#name); }
#define EVER(name, call, ends) ATTACK(name, ends) { for (;;) call; return alive(#name); }

static DEFINE_IDR(idr);
static DEFINE_IDA(ida);
static DEFINE_XARRAY(array);
static RADIX_TREE(tree, GFP_KERNEL);
static unsigned long at;
static dev_t region;

static int misc_registered(void)
{
	struct miscdevice *device = NEW(struct miscdevice);

	if (!device)
		return -ENOMEM;
	device->minor = MISC_DYNAMIC_MINOR;
	device->name = numbered();
	return misc_register(device);
}

static int driver_registered(void)
{
	struct platform_driver *driver = NEW(struct platform_driver);

	if (!driver)
		return -ENOMEM;
	driver->driver.name = numbered();
	return platform_driver_register(driver);
}

static int handles_nothing(struct notifier_block *block, unsigned long value, void *data) { return 0; }

static int notifier_registered(void)
{
	struct notifier_block *block = NEW(struct notifier_block);

	if (!block)
		return -ENOMEM;
	block->notifier_call = handles_nothing;
	return register_reboot_notifier(block);
}

UNTIL(flood_of_kobjects, kobject_create_and_add(numbered(), NULL), "any")
EVER(flood_of_kobjects_of_one_name, kobject_create_and_add("same", NULL), "any")
UNTIL(flood_of_ksets, kset_create_and_add(numbered(), NULL, NULL), "any")
UNTIL(flood_of_classes, !IS_ERR(class_create(THIS_MODULE, numbered())), "any")
UNTIL(flood_of_devices, !IS_ERR(root_device_register(numbered())), "any")
UNTIL(flood_of_platform_devices, !IS_ERR(platform_device_register_simple(numbered(), -1, NULL, 0)), "any")
UNTIL(flood_of_drivers, !driver_registered(), "any")
UNTIL(flood_of_misc_devices, !misc_registered(), "any")
UNTIL(flood_of_regions, !alloc_chrdev_region(&region, 0, 1, "flood"), "any")
UNTIL(flood_of_proc_directories, proc_mkdir(numbered(), NULL), "any")
UNTIL(flood_of_debug_directories, !IS_ERR(debugfs_create_dir(numbered(), NULL)), "any")
UNTIL(flood_of_numbers, idr_alloc(&idr, &idr, 0, 0, GFP_KERNEL) >= 0, "any")
UNTIL(flood_of_ids, ida_alloc(&ida, GFP_KERNEL) >= 0, "any")
UNTIL(flood_of_array_entries, !xa_is_err(xa_store(&array, at += 4099, &array, GFP_KERNEL)), "any")
UNTIL(flood_of_tree_entries, !radix_tree_insert(&tree, at += 4099, &tree), "any")
UNTIL(flood_of_pools, mempool_create_kmalloc_pool(64, 64), "any")
UNTIL(flood_of_tables, !sg_alloc_table(NEW(struct sg_table), 1000, GFP_KERNEL), "any")
UNTIL(flood_of_reboot_notifiers, !notifier_registered(), "any")
UNTIL(flood_of_sockets, !sock_create_kern(&init_net, AF_UNIX, SOCK_STREAM, 0, (struct socket **)&at), "any")
UNTIL(flood_of_uevents, !kobject_uevent(&THIS_MODULE->mkobj.kobj, KOBJ_CHANGE), "any")

ATTACK(kobject_that_is_its_parent, "any")
{
	struct kobject *object = kobject_create_and_add("parent", NULL);

	object->parent = object;
	kobject_uevent(object, KOBJ_ADD);
	kobject_get_path(object, GFP_KERNEL);
	kobject_put(object);
	return alive("parent");
}

ATTACK(kobject_in_a_kset_of_itself, "any")
{
	struct kset *set = kset_create_and_add("set", NULL, NULL);

	set->kobj.kset = set;
	kobject_uevent(&set->kobj, KOBJ_ADD);
	set->list.next = set->list.prev = (void *)UNMAPPED;
	kset_unregister(set);
	return alive("kset");
}

ATTACK(klist_of_itself, "any")
{
	static DEFINE_KLIST(list, NULL, NULL);
	static struct klist_node node;
	struct klist_iter iterator;

	klist_add_tail(&node, &list);
	node.n_node.next = &node.n_node;
	klist_iter_init(&list, &iterator);
	while (klist_next(&iterator))
		;
	return alive("klist");
}

static int counts(int id, void *pointer, void *data) { return 0; }

ATTACK(idr_of_itself, "any")
{
	idr.idr_rt.xa_head = (void *)((unsigned long)&idr | 2);
	idr_for_each(&idr, counts, NULL);
	idr_destroy(&idr);
	return alive("idr");
}

ATTACK(array_of_itself, "any")
{
	struct xa_node *node;
	unsigned long index;
	void *entry;
	int i;

	xa_store(&array, 100, &array, GFP_KERNEL);
	node = (void *)((unsigned long)array.xa_head & ~3UL);
	for (i = 0; i < XA_CHUNK_SIZE; i++)
		node->slots[i] = array.xa_head;
	xa_for_each(&array, index, entry)
		;
	xa_destroy(&array);
	return alive("array");
}

/* -- a driver core whose callbacks recurse, never return, or destroy what called them -- */

static int probes_never(struct platform_device *device) { for (;;) cpu_relax(); }
static int probes_badly(struct platform_device *device) { return *(volatile int *)8; }
static int probes_deep(struct platform_device *device)
{
	return PTR_ERR_OR_ZERO(platform_device_register_simple("deep", PLATFORM_DEVID_AUTO, NULL, 0));
}
static int probes_and_removes(struct platform_device *device) { platform_device_unregister(device); return 0; }
static int probes_oddly(struct platform_device *device) { return 12345; }
static int probes_and_frees(struct platform_device *device) { kfree(device); return 0; }
static int probes_later(struct platform_device *device) { return -EPROBE_DEFER; }

#define PROBE(name_, callback, ends)										\
	ATTACK(name_, ends)											\
	{													\
		static struct platform_driver driver = { .driver = { .name = "deep" }, .probe = callback };	\
		platform_driver_register(&driver);								\
		platform_device_register_simple("deep", PLATFORM_DEVID_AUTO, NULL, 0);				\
		msleep(100);											\
		return alive(#name_);										\
	}

PROBE(probe_that_never_returns, probes_never, "lockup")
PROBE(probe_that_oopses, probes_badly, "any")
PROBE(probe_that_registers_more, probes_deep, "any")
PROBE(probe_that_removes_its_device, probes_and_removes, "any")
PROBE(probe_that_frees_its_device, probes_and_frees, "any")
PROBE(probe_that_returns_oddly, probes_oddly, "any")
PROBE(probe_that_is_deferred, probes_later, "any")
PROBE(probe_that_is_wild, (void *)NOT_CANONICAL, "any")

/* -- files whose contents never end -- */

static void *starts(struct seq_file *file, loff_t *at) { return file; }
static void *nexts(struct seq_file *file, void *now, loff_t *at) { return file; }
static void stops(struct seq_file *file, void *now) { }
static int shows(struct seq_file *file, void *now) { seq_puts(file, "again\n"); return 0; }
static int shows_nothing(struct seq_file *file, void *now) { return 0; }
static int shows_too_much(struct seq_file *file, void *now) { file->count = file->size + 1; return 0; }
static int shows_never(struct seq_file *file, void *now) { for (;;) cpu_relax(); }

#define SEQUENCE(name, callback, ends)										\
	ATTACK(name, ends)											\
	{													\
		static const struct seq_operations ops = { starts, stops, nexts, callback };			\
		static struct file file;									\
		struct kvec vector = { contents, sizeof(contents) };						\
		struct kiocb request = { .ki_filp = &file };							\
		struct iov_iter iterator;									\
		int i;												\
		seq_open(&file, &ops);										\
		for (i = 0; i < 100; i++) {									\
			iov_iter_kvec(&iterator, READ, &vector, 1, sizeof(contents));				\
			pr_info_once("%zd\n", seq_read_iter(&request, &iterator));				\
		}												\
		return alive(#name);										\
	}

SEQUENCE(sequence_without_an_end, shows, "any")
SEQUENCE(sequence_of_nothing, shows_nothing, "any")
SEQUENCE(sequence_larger_than_its_buffer, shows_too_much, "any")
SEQUENCE(sequence_that_never_returns, shows_never, "lockup")
SEQUENCE(sequence_that_is_wild, (void *)UNMAPPED, "any")

/* -- probes and hooks of functions: handlers that recurse, sleep, oops, never return, or go elsewhere -- */

__attribute__((noipa)) static int probed(int number) { barrier(); return number + 1; }
static char digits[] = "42";

static int uses(void)
{
	substring_t text = { digits, digits + 2 };
	int number = probed(1);

	match_int(&text, &number);
	kfree(kmalloc(8, GFP_KERNEL));
	pr_info("used\n");
	schedule();
	return number;
}

static int handler_uses(struct kprobe *probe, struct pt_regs *regs) { uses(); return 0; }
static int handler_sleeps(struct kprobe *probe, struct pt_regs *regs) { msleep(10); return 0; }
static int handler_oopses(struct kprobe *probe, struct pt_regs *regs) { return *(volatile int *)8; }
static int handler_never_returns(struct kprobe *probe, struct pt_regs *regs) { for (;;) cpu_relax(); }
static int handler_goes_astray(struct kprobe *probe, struct pt_regs *regs) { regs->ip = UNMAPPED; return 1; }
static int handler_goes_back(struct kprobe *probe, struct pt_regs *regs) { return 1; }
static int handler_takes_the_stack(struct kprobe *probe, struct pt_regs *regs) { regs->sp = NOT_CANONICAL; return 0; }
static int handler_unregisters(struct kprobe *probe, struct pt_regs *regs) { unregister_kprobe(probe); return 0; }

static void probe_of(const char *name, unsigned int offset, kprobe_pre_handler_t handler)
{
	static struct kprobe probe;

	memset(&probe, 0, sizeof(probe));
	probe.symbol_name = name;
	probe.offset = offset;
	probe.pre_handler = handler;
	pr_info("%d\n", register_kprobe(&probe));
	uses();
}

#define HANDLER(name, ends)									\
	ATTACK(probe_whose_##name, ends) { probe_of("probed", 0, name); return alive(#name); }	\
	ATTACK(probe_of_the_image_whose_##name, ends) { probe_of("match_int", 0, name); return alive(#name); }

HANDLER(handler_uses, "any")
HANDLER(handler_sleeps, "any")
HANDLER(handler_oopses, "any")
HANDLER(handler_never_returns, "any")
HANDLER(handler_goes_astray, "any")
HANDLER(handler_goes_back, "any")
HANDLER(handler_takes_the_stack, "any")
HANDLER(handler_unregisters, "any")

ATTACK(probes_within_functions, "any")
{
	static const char *const names[] = { "match_int", "schedule", "_printk", "__kmalloc", "kfree", "msleep", "kstrtoint",
					     "do_int3", "exc_page_fault", "kprobe_int3_handler", "asm_exc_int3" };
	int i, offset;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		for (offset = 0; offset < 12; offset++)
			probe_of(names[i], offset, NULL);
	return alive("within");
}

static int returns_wild(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	regs->ax = UNMAPPED;
	regs->sp = 8;
	return 0;
}

ATTACK(return_probe_that_is_wild, "any")
{
	static struct kretprobe probe = { .kp.symbol_name = "probed", .handler = returns_wild, .maxactive = 1 };

	pr_info("%d\n", register_kretprobe(&probe));
	uses();
	return alive("return");
}

static void hook_uses(unsigned long ip, unsigned long parent, struct ftrace_ops *ops, struct ftrace_regs *regs)
{
	uses();
}

static void hook_oopses(unsigned long ip, unsigned long parent, struct ftrace_ops *ops, struct ftrace_regs *regs)
{
	*(volatile int *)8 = 1;
}

#define HOOK(name, function)									\
	ATTACK(name, "any")									\
	{											\
		static struct ftrace_ops ops = { .func = function };				\
		pr_info("%d\n", ftrace_set_filter_ip(&ops, (unsigned long)probed, 0, 0));	\
		pr_info("%d\n", register_ftrace_function(&ops));				\
		uses();										\
		return alive(#name);								\
	}

HOOK(hook_that_recurses, hook_uses)
HOOK(hook_that_oopses, hook_oopses)
HOOK(hook_that_is_wild, (void *)NOT_CANONICAL)
