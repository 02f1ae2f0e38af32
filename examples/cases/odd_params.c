// SPDX-License-Identifier: GPL-2.0-only
/* Parameters whose operations return what they should not, or are missing. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/moduleparam.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("parameters with strange operations");

static int value;

static int set_result(const char *val, const struct kernel_param *kp)
{
	int result, ret = kstrtoint(val, 0, &result);

	pr_info("set to %s\n", val);
	return ret ? ret : result;
}

static int get_result(char *buffer, const struct kernel_param *kp)
{
	return value;
}

static int set_value(const char *val, const struct kernel_param *kp)
{
	pr_info("value is %s\n", val ? val : "NULL");
	return val ? kstrtoint(val, 0, &value) : 0;
}

static const struct kernel_param_ops result_ops = { .set = set_result, .get = get_result };
static const struct kernel_param_ops value_ops = {
	.flags = KERNEL_PARAM_OPS_FL_NOARG, .set = set_value, .get = param_get_int,
};
static const struct kernel_param_ops no_set_ops = { .get = param_get_int };
static const struct kernel_param_ops no_get_ops = { .set = set_value };

module_param_cb(result, &result_ops, NULL, 0644);
module_param_cb(value, &value_ops, &value, 0644);
module_param_cb(no_set, &no_set_ops, &value, 0644);
module_param_cb(no_get, &no_get_ops, &value, 0644);

static int __init odd_params_init(void)
{
	pr_info("init, value %d\n", value);
	return 0;
}

static void __exit odd_params_exit(void)
{
}

module_init(odd_params_init);
module_exit(odd_params_exit);
