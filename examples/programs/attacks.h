/* SPDX-License-Identifier: GPL-2.0-only */
/* The main function of a program of attacks, ATTACKS(X): it lists their names, or runs the one that is named. */
#include <stdio.h>
#include <string.h>

#define FUNCTION(name, ...) static void run_##name(void) { __VA_ARGS__; }
#define ENTRY(name, ...) { #name, run_##name },

ATTACKS(FUNCTION)

static const struct {
	const char *name;
	void (*run)(void);
} attacks[] = { ATTACKS(ENTRY) };

int main(int count, char **words)
{
	unsigned n;

	for (n = 0; n < sizeof(attacks) / sizeof(*attacks); n++)
		if (count < 2)
			puts(attacks[n].name);
		else if (!strcmp(words[1], attacks[n].name))
			attacks[n].run();
	return 0;
}
