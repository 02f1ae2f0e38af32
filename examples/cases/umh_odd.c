// SPDX-License-Identifier: GPL-2.0-only
/* call_usermodehelper() with arguments that are missing, empty, too long. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/slab.h>
#include <linux/umh.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("strange arguments of helpers");

static char *what = "argv_null";
module_param(what, charp, 0);

static char *nothing[] = { NULL };
static char *argv[] = { "/sbin/helper", NULL, NULL };
static char *unnamed[] = { "", NULL };
static char *others[] = { "/sbin/other", "-x", NULL };
static char *envp[] = { "A=1", "A=2", "=B", "C", "", "PATH=/sbin:/bin", NULL };
static char *plain[] = { "PATH=/sbin:/bin", NULL };

static int call(const char *path, char **arguments, char **environment)
{
	return call_usermodehelper(path, arguments, environment, UMH_WAIT_PROC);
}

/* An argument of size bytes, its end included. */
static int sized(size_t size)
{
	char *text = kvmalloc(size, GFP_KERNEL);
	int ret;

	if (!text)
		return -ENOMEM;
	memset(text, 'x', size - 1);
	text[size - 1] = '\0';
	argv[1] = text;
	ret = call(argv[0], argv, plain);
	argv[1] = NULL;
	kvfree(text);
	return ret;
}

static int odd(void)
{
	if (!strcmp(what, "argv_null"))
		return call(argv[0], NULL, plain);
	if (!strcmp(what, "argv_empty"))
		return call(argv[0], nothing, plain);
	if (!strcmp(what, "envp_null"))
		return call(argv[0], argv, NULL);
	if (!strcmp(what, "envp_empty"))
		return call(argv[0], argv, nothing);
	if (!strcmp(what, "path_null"))
		return call(NULL, argv, plain);
	if (!strcmp(what, "path_empty"))
		return call("", argv, plain);
	if (!strcmp(what, "path_relative"))
		return call("sbin/helper", argv, plain);
	if (!strcmp(what, "path_dots"))
		return call("/sbin/../sbin/./helper", argv, plain);
	if (!strcmp(what, "path_slashes"))
		return call("//sbin//helper", argv, plain);
	if (!strcmp(what, "path_slash_at_end"))
		return call("/sbin/helper/", argv, plain);
	if (!strcmp(what, "path_through_file"))
		return call("/sbin/helper/helper", argv, plain);
	if (!strcmp(what, "path_without_slash"))
		return call("helper", argv, plain);
	if (!strcmp(what, "path_long")) {
		char *path = kzalloc(8192, GFP_KERNEL);
		int ret;

		memset(path, '/', 4095);
		ret = call(path, argv, plain);
		pr_info("4095 slashes: %d\n", ret);
		path[4095] = '/';
		ret = call(path, argv, plain);
		kfree(path);
		return ret;
	}
	if (!strcmp(what, "name_long")) {
		char *path = kzalloc(512, GFP_KERNEL);
		int ret;

		memset(path, 'n', 257);
		path[0] = '/';
		ret = call(path, argv, plain);
		kfree(path);
		return ret;
	}
	if (!strcmp(what, "unnamed"))
		return call(argv[0], unnamed, plain);
	if (!strcmp(what, "other_name"))
		return call(argv[0], others, plain);
	if (!strcmp(what, "environment"))
		return call(argv[0], argv, envp);
	if (!strcmp(what, "argument_131072"))
		return sized(131072);
	if (!strcmp(what, "argument_131073"))
		return sized(131073);
	return 1;
}

static int __init umh_odd_init(void)
{
	pr_info("%s: %d\n", what, odd());
	return 0;
}

static void __exit umh_odd_exit(void)
{
}

module_init(umh_odd_init);
module_exit(umh_odd_exit);
