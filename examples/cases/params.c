// SPDX-License-Identifier: GPL-2.0-only
/* A parameter of every kind. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/moduleparam.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("parameters");

static char a_byte = 1;
module_param(a_byte, byte, 0644);
static short a_short;
module_param(a_short, short, 0644);
static ushort a_ushort;
module_param(a_ushort, ushort, 0644);
static int an_int = -1;
module_param(an_int, int, 0644);
MODULE_PARM_DESC(an_int, "an int");
static uint a_uint;
module_param(a_uint, uint, 0644);
static long a_long;
module_param(a_long, long, 0644);
static ulong a_ulong;
module_param(a_ulong, ulong, 0644);
static unsigned long long a_ullong;
module_param(a_ullong, ullong, 0644);
static uint a_hexint;
module_param(a_hexint, hexint, 0644);
static char *a_charp = "unset";
module_param(a_charp, charp, 0644);
static bool a_bool;
module_param(a_bool, bool, 0644);
static bool an_invbool;
module_param(an_invbool, invbool, 0644);
static bool enable_only;
module_param(enable_only, bool_enable_only, 0644);
static int bint;
module_param(bint, bint, 0644);
static int renamed;
module_param_named(other_name, renamed, int, 0444);
static int array[4] = { 1, 2, 3, 4 };
static int array_count = -1;
module_param_array(array, int, &array_count, 0444);
static char *names[2];
module_param_array(names, charp, NULL, 0444);
static char text[8] = "abc";
module_param_string(text, text, sizeof(text), 0644);
static int hidden;
module_param(hidden, int, 0);
static int unsafe;
module_param_unsafe(unsafe, int, 0600);
static int even;

static int set_even(const char *val, const struct kernel_param *kp)
{
	int value, ret = kstrtoint(val, 0, &value);

	pr_info("set_even(\"%s\")\n", val);
	if (ret)
		return ret;
	if (value & 1)
		return -ERANGE;
	even = value;
	return 0;
}

static int get_even(char *buffer, const struct kernel_param *kp)
{
	return sprintf(buffer, "<%d>\n", even);
}

static const struct kernel_param_ops even_ops = { .set = set_even, .get = get_even };
module_param_cb(even, &even_ops, NULL, 0644);

static void show(void)
{
	pr_info("byte %d short %d ushort %u int %d uint %u long %ld ulong %lu ullong %llu hexint %#x\n",
		a_byte, a_short, a_ushort, an_int, a_uint, a_long, a_ulong, a_ullong, a_hexint);
	pr_info("charp \"%s\" bool %d invbool %d enable_only %d bint %d other_name %d text \"%s\" hidden %d even %d\n",
		a_charp, a_bool, an_invbool, enable_only, bint, renamed, text, hidden, even);
	pr_info("array %d,%d,%d,%d (%d given) names \"%s\",\"%s\" unsafe %d\n", array[0], array[1], array[2],
		array[3], array_count, names[0] ?: "", names[1] ?: "", unsafe);
}

static int __init params_init(void)
{
	show();
	return 0;
}

static void __exit params_exit(void)
{
	show();
}

module_init(params_init);
module_exit(params_exit);
