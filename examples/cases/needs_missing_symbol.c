// SPDX-License-Identifier: GPL-2.0-only
/* Uses a symbol that no one exports. */
#include <linux/module.h>

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("an unknown symbol");

extern int nobody_exports_me(void);
extern int nor_me;

static int __init needs_missing_symbol_init(void)
{
	return nobody_exports_me() + nor_me;
}

module_init(needs_missing_symbol_init);
