// SPDX-License-Identifier: GPL-2.0-only
/* The host's files, by requests and helpers. value: a directory of the host with secret.conf, script.sh, outside.ko. */
#include "attack.h"

#include <linux/kmod.h>
#include <linux/umh.h>

static char buffer[8192];

static char *text(const char *format, const char *host)
{
	return kasprintf(GFP_KERNEL, format, host, host, host);
}

static int run(char **argv, char **envp)
{
	int ret = call_usermodehelper(argv[0], argv, envp, UMH_WAIT_PROC);

	call_usermodehelper(argv[0], argv, envp, UMH_NO_WAIT);
	pr_info("%d\n", ret);
	return 0;
}

static char *plain[] = { "HOME=/", "PATH=/sbin:/bin", NULL };

#define HELPER(name, ...)									\
	ATTACK(name, "any")									\
	{											\
		char *argv[] = { __VA_ARGS__, NULL };						\
		return run(argv, plain);							\
	}

HELPER(script, text("%s/script.sh", value))
HELPER(script_by_shell, "/bin/sh", text("%s/script.sh", value))
HELPER(script_above, text("/sbin/../../../../../../../..%s/script.sh", value))
HELPER(script_below_modprobe, text("/sbin/modprobe/../../../../..%s/script.sh", value))
HELPER(secret_by_cat, "/bin/cat", text("%s/secret.conf", value))
HELPER(secret_by_shell, "/bin/sh", "-c", text("while read l; do echo $l; done < %s/secret.conf", value))
HELPER(secret_by_source, "/bin/sh", "-c", text(". %s/secret.conf", value))
HELPER(secret_by_echo, "/bin/sh", "-c", text("echo $(cat %s/secret.conf)", value))
HELPER(secret_made, "/bin/sh", "-c", text("cat %s/secret.conf > %s/made", value))
HELPER(secret_as_configuration, "/sbin/modprobe", "-c", "-C", text("%s/secret.conf", value))
HELPER(secret_as_configuration_by_name, "/sbin/modprobe", text("--config=%s/secret.conf", value), "exporter")
HELPER(secret_as_module, "/sbin/modprobe", text("%s/secret.conf", value))
HELPER(module_outside, "/sbin/modprobe", text("%s/outside.ko", value))
HELPER(module_of_another_root, "/sbin/modprobe", "-d", text("%s", value), "outside")
HELPER(module_removed, "/sbin/modprobe", "-r", text("%s/outside.ko", value))
HELPER(versions_of_a_module, "/sbin/modprobe", "--show-modversions", text("%s/outside.ko", value))
HELPER(directory_as_a_program, text("%s", value))
HELPER(itself, "/proc/self/exe", text("%s/secret.conf", value))
HELPER(root_of_the_first_process, "/proc/1/root/bin/sh", "-c", "id")
HELPER(descriptor, "/proc/self/fd/0")
HELPER(python, "/usr/bin/python3", "-c", "import os; os.system('id')")
HELPER(insmod, "/sbin/insmod", text("%s/outside.ko", value))
HELPER(depmod, "/sbin/depmod", "-b", text("%s", value))
HELPER(core_pattern, "/bin/sh", "-c", text("echo '|%s/script.sh' > /proc/sys/kernel/core_pattern", value))
HELPER(sysctl_of_modprobe, "/bin/sh", "-c", text("echo %s/script.sh > /proc/sys/kernel/modprobe; modprobe x", value))
HELPER(dev_zero_as_configuration, "/sbin/modprobe", "-C", "/dev/zero", "x")
HELPER(dev_stdin_as_configuration, "/sbin/modprobe", "-C", "/dev/stdin", "x")
HELPER(dev_full_as_output, "/bin/sh", "-c", "echo x > /dev/full; echo y > /dev/sda; echo z > /dev/mem")
HELPER(shell_in_shells, "/bin/sh", "-c", "sh -c \"sh -c 'sh -c id'\"")
HELPER(shell_for_ever, "/bin/sh", "-c", "while true; do :; done")
HELPER(shell_that_forks, "/bin/sh", "-c", ":(){ :|:& };:")
HELPER(shell_of_quotes, "/bin/sh", "-c", "'\"`$(${((\\")
HELPER(options_without_an_end, "/sbin/modprobe", "-C", "-C", "-C", "-d", "--", "-", "---", "-S")

#define ENVIRONMENT(name, ...)									\
	ATTACK(name, "any")									\
	{											\
		char *argv[] = { "/sbin/modprobe", "-v", "exporter", NULL };			\
		char *envp[] = { __VA_ARGS__, NULL };						\
		return run(argv, envp);								\
	}

ENVIRONMENT(environment_options, text("MODPROBE_OPTIONS=-c -C %s/secret.conf", value))
ENVIRONMENT(environment_preload, text("LD_PRELOAD=%s/outside.ko", value))
ENVIRONMENT(environment_path, text("PATH=%s", value), text("HOME=%s", value))
ENVIRONMENT(environment_of_nonsense, "=", "", "x", "==", "MODPROBE_OPTIONS", "MODPROBE_OPTIONS='\"\\")
ENVIRONMENT(environment_python, text("PYTHONPATH=%s", value), text("PYTHONSTARTUP=%s/script.sh", value))

#define REQUEST(name, ...) ATTACK(name, "any") { pr_info("%d\n", request_module(__VA_ARGS__)); return 0; }

REQUEST(request_path, "%s/outside.ko", value)
REQUEST(request_path_above, "./../../../../../..%s/outside.ko", value)
REQUEST(request_with_options, "-C %s/secret.conf exporter", value)
REQUEST(request_with_options_behind, "exporter -C %s/secret.conf", value)
REQUEST(request_of_nothing, "%s", "")
REQUEST(request_of_formats, "%s", "%s%n%p%d")
REQUEST(request_of_wildcards, "%s", "*[!a]?{}[")
REQUEST(request_long, "%6000d", 1)
REQUEST(request_null, "%s", (char *)NULL)
REQUEST(request_unmapped, "%s", (char *)UNMAPPED)
REQUEST(request_of_lines, "%s", "a\nb\001c\xff\xfe")

/* -- what is no list of strings -- */

#define RAW(name, path, argv, envp, ends)							\
	ATTACK(name, ends)									\
	{											\
		pr_info("%d\n", call_usermodehelper((void *)(path), (void *)(argv), (void *)(envp), UMH_WAIT_PROC)); \
		return 0;									\
	}

static char *itself_of_pointers[8192], *null[] = { NULL };

RAW(helper_null, NULL, NULL, NULL, "any")
RAW(helper_without_arguments, "/sbin/modprobe", null, null, "any")
RAW(helper_null_vector, "/sbin/modprobe", NULL, NULL, "any")
RAW(helper_path_unmapped, UNMAPPED, null, null, "any")
RAW(helper_path_empty, "", null, null, "any")
RAW(helper_vector_unmapped, "/sbin/modprobe", UNMAPPED, UNMAPPED, "any")
RAW(helper_vector_not_canonical, "/sbin/modprobe", NOT_CANONICAL, NOT_CANONICAL, "any")
RAW(helper_vector_of_the_frame, "/sbin/modprobe", FRAME, FRAME, "any")
RAW(helper_vector_of_numbers, "/sbin/modprobe", ((u64[]){ 8, 16, 24, 0 }), null, "any")

ATTACK(helper_of_many_arguments, "any")
{
	int i;

	for (i = 0; i < 8191; i++)
		itself_of_pointers[i] = "x";
	itself_of_pointers[0] = "/sbin/modprobe";
	pr_info("%d\n", call_usermodehelper("/sbin/modprobe", itself_of_pointers, plain, UMH_WAIT_PROC));
	return 0;
}

ATTACK(helper_of_arguments_without_an_end, "any")
{
	unsigned long *page = (void *)__get_free_page(GFP_KERNEL), *table = (void *)get_zeroed_page(GFP_KERNEL);
	unsigned long at = 0xffffa10000000000UL;
	int i;

	for (i = 0; i < 512; i++) {
		page[i] = (unsigned long)"x";
		table[i] = virt_to_phys(table) | 3;
	}
	table[511] = virt_to_phys(page) | 3;
	*entry_of(at, 4) = virt_to_phys(table) | 3;
	at |= 511UL << 30 | 511UL << 21 | 511UL << 12;
	pr_info("%d\n", call_usermodehelper("/sbin/modprobe", (void *)at, plain, UMH_WAIT_PROC));
	return 0;
}

ATTACK(helper_of_a_long_path, "any")
{
	memset(buffer, '/', sizeof(buffer) - 1);
	pr_info("%d\n", call_usermodehelper(buffer, null, plain, UMH_WAIT_PROC));
	return 0;
}

ATTACK(helper_changed_after_it_was_set_up, "any")
{
	struct subprocess_info *info = call_usermodehelper_setup("/sbin/modprobe", plain, plain, GFP_KERNEL, NULL, NULL, NULL);

	memset(info, 0xff, sizeof(*info));
	info->path = text("%s/script.sh", value);
	pr_info("%d\n", call_usermodehelper_exec(info, UMH_WAIT_PROC));
	return 0;
}

ATTACK(helper_executed_twice, "any")
{
	struct subprocess_info *info = call_usermodehelper_setup("/sbin/modprobe", plain, plain, GFP_KERNEL, NULL, NULL, NULL);

	call_usermodehelper_exec(info, UMH_NO_WAIT);
	call_usermodehelper_exec(info, UMH_WAIT_PROC | UMH_KILLABLE);
	return 0;
}

ATTACK(helper_with_bad_callbacks, "any")
{
	struct subprocess_info *info = call_usermodehelper_setup("/sbin/modprobe", plain, plain, GFP_KERNEL,
								 (void *)UNMAPPED, (void *)NOT_CANONICAL, NULL);

	pr_info("%d\n", call_usermodehelper_exec(info, UMH_WAIT_EXEC));
	return 0;
}
