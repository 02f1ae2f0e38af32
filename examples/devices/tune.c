// SPDX-License-Identifier: GPL-2.0-only
/* Values to be set: parameters in /sys/module/tune, sysctls in /proc/sys/tune, files of debugfs. */
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/sysctl.h>
#include <linux/version.h>

static int loud = 3, few[4] = { 1, 2 }, few_count = 2, bounded = 5;
static bool flag;
static char *word = "none";
static char name[16] = "tune";
module_param(loud, int, 0644);
module_param_array(few, int, &few_count, 0644);
module_param(flag, bool, 0644);
module_param(word, charp, 0644);
module_param_string(name, name, sizeof(name), 0444);

static int minimum = 1, maximum = 10;
static unsigned long long_value = 1UL << 40;
static char text[16] = "text";

static struct ctl_table table[] = {
	{ .procname = "bounded", .data = &bounded, .maxlen = sizeof(int), .mode = 0644,
	  .proc_handler = proc_dointvec_minmax, .extra1 = &minimum, .extra2 = &maximum },
	{ .procname = "long", .data = &long_value, .maxlen = sizeof(long), .mode = 0444,
	  .proc_handler = proc_doulongvec_minmax },
	{ .procname = "text", .data = text, .maxlen = sizeof(text), .mode = 0644, .proc_handler = proc_dostring },
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
	{}
#endif
};

static struct ctl_table_header *sysctls;
static struct dentry *directory;
static u8 byte = 7;
static u64 wide = 0x123456789abcdef;
static bool on;
static atomic_t counter = ATOMIC_INIT(-3);
static u32 array[] = { 1, 2, 3 };
static struct debugfs_u32_array u32s = { .array = array, .n_elements = ARRAY_SIZE(array) };
static struct debugfs_blob_wrapper blob = { .data = "a blob\n", .size = 7 };

static int squares_show(struct seq_file *seq, void *unused)
{
	int n;

	for (n = 0; n < 1000; n++)
		seq_printf(seq, "%d\n", n * n);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(squares);

static int square_get(void *data, u64 *value)
{
	*value = (u64)loud * loud;
	return 0;
}

static int square_set(void *data, u64 value)
{
	if (value > 100)
		return -ERANGE;
	loud = int_sqrt(value);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(square_fops, square_get, square_set, "%llu\n");

static int __init tune_init(void)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
	sysctls = register_sysctl_sz("tune", table, ARRAY_SIZE(table) - (LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)));
#else
	sysctls = register_sysctl("tune", table);
#endif
	if (!sysctls)
		return -ENOMEM;
	proc_create_single("squares", 0444, NULL, squares_show);
	directory = debugfs_create_dir("tune", NULL);
	debugfs_create_u8("byte", 0644, directory, &byte);
	debugfs_create_x64("wide", 0644, directory, &wide);
	debugfs_create_bool("on", 0644, directory, &on);
	debugfs_create_atomic_t("counter", 0644, directory, &counter);
	debugfs_create_u32_array("array", 0444, directory, &u32s);
	debugfs_create_blob("blob", 0444, directory, &blob);
	debugfs_create_symlink("link", directory, "byte");
	debugfs_create_file("squares", 0444, directory, NULL, &squares_fops);
	debugfs_create_file_unsafe("square", 0644, directory, NULL, &square_fops);
	return 0;
}

static void __exit tune_exit(void)
{
	debugfs_remove_recursive(directory);
	remove_proc_entry("squares", NULL);
	unregister_sysctl_table(sysctls);
	pr_info("tune: loud=%d flag=%d word=%s bounded=%d text=%s\n", loud, flag, word, bounded, text);
}

module_init(tune_init);
module_exit(tune_exit);
MODULE_DESCRIPTION("Values to be set");
MODULE_LICENSE("GPL");
