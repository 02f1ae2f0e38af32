// SPDX-License-Identifier: GPL-2.0-only
/* The string and number helpers that every module uses, at their edges. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ctype.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/string.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("strings and numbers");

static void numbers(void)
{
	static const char *const texts[] = { "42", "-42", "0x2a", "052", "42\n", "42 ", " 42", "+7", "", "x", "2147483648",
					     "-2147483649", "0x", "99999999999999999999" };
	int i, value, ret;
	u8 small;
	bool flag;
	unsigned long long big;

	for (i = 0; i < ARRAY_SIZE(texts); i++) {
		value = -1;
		ret = kstrtoint(texts[i], 0, &value);
		pr_info("kstrtoint(\"%*pEn\") = %d, %d\n", (int)strlen(texts[i]), texts[i], ret, value);
	}
	pr_info("kstrtou8(256) = %d\n", kstrtou8("256", 10, &small));
	pr_info("kstrtoull(-1) = %d\n", kstrtoull("-1", 10, &big));
	ret = kstrtoull("ff", 16, &big);
	pr_info("kstrtoull(ff, 16) = %d, %llu\n", ret, big);
	ret = kstrtobool("on", &flag);
	pr_info("kstrtobool(on) = %d, %d\n", ret, flag);
	ret = kstrtobool("Nonsense", &flag);
	pr_info("kstrtobool(Nonsense) = %d, %d\n", ret, flag);
	pr_info("kstrtobool(maybe) = %d\n", kstrtobool("maybe", &flag));
	pr_info("simple_strtoul(12abc) = %lu\n", simple_strtoul("12abc", NULL, 0));
	pr_info("simple_strtol(-0x10) = %ld\n", simple_strtol("-0x10", NULL, 0));
}

static void scanning(void)
{
	int a = 0, b = 0, ret;
	unsigned int x = 0;
	char word[8] = "", set[8] = "";
	u8 mac[3] = { 0 };

	ret = sscanf("12 -7", "%d %d", &a, &b);
	pr_info("sscanf = %d: %d %d\n", ret, a, b);
	ret = sscanf("0x1f:rest", "%i:%7s", &a, word);
	pr_info("sscanf = %d: %d %s\n", ret, a, word);
	ret = sscanf("01:23:45", "%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2]);
	pr_info("sscanf = %d: %*phC\n", ret, 3, mac);
	ret = sscanf("abc123", "%7[a-z]%x", set, &x);
	pr_info("sscanf = %d: %s %x\n", ret, set, x);
	ret = sscanf("77 99", "%*d %3d", &a);
	pr_info("sscanf = %d: %d\n", ret, a);
	ret = sscanf("none", "%d", &a);
	pr_info("sscanf = %d\n", ret);
}

static int compare(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static void copying(void)
{
	char buffer[8];
	char line[] = "one,two,,three", *rest = line, *piece;
	int values[] = { 5, 3, 9, 1 };

	pr_info("snprintf = %d \"%s\"\n", snprintf(buffer, sizeof(buffer), "%s", "123456789"), buffer);
	pr_info("scnprintf = %d \"%s\"\n", scnprintf(buffer, sizeof(buffer), "%s", "123456789"), buffer);
	pr_info("strscpy = %zd \"%s\"\n", strscpy(buffer, "123456789", sizeof(buffer)), buffer);
	pr_info("strscpy = %zd \"%s\"\n", strscpy(buffer, "123", sizeof(buffer)), buffer);
	pr_info("strlcpy = %zu \"%s\"\n", strlcpy(buffer, "123456789", sizeof(buffer)), buffer);
	while ((piece = strsep(&rest, ",")))
		pr_info("strsep \"%s\"\n", piece);
	strcpy(line, "  trim\t\n");
	pr_info("strim \"%s\"\n", strim(line));
	pr_info("strncasecmp %d, sysfs_streq %d, match_string %d\n", strncasecmp("ABC", "abd", 2),
		sysfs_streq("on\n", "on"), match_string((const char *[]){ "a", "b" }, 2, "b"));
	pr_info("strstr \"%s\", strrchr \"%s\", strnchr %d, strspn %zu\n", strstr("a needle", "need"),
		strrchr("a/b/c", '/'), !!strnchr("abc", 2, 'c'), strspn("aabc", "ab"));
	pr_info("hex_to_bin %d, isdigit %d, toupper %c\n", hex_to_bin('c'), !!isdigit('7'), toupper('q'));
	sort(values, 4, sizeof(int), compare, NULL);
	pr_info("sort %d %d %d %d\n", values[0], values[1], values[2], values[3]);
	pr_info("int_sqrt %lu, roundup_pow_of_two %lu, DIV_ROUND_UP %d\n", int_sqrt(1000), roundup_pow_of_two(33),
		DIV_ROUND_UP(10, 4));
}

static int __init strings_begin(void)
{
	numbers();
	scanning();
	copying();
	return 0;
}

static void __exit strings_exit(void)
{
}

module_init(strings_begin);
module_exit(strings_exit);
