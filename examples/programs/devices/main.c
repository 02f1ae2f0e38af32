// SPDX-License-Identifier: GPL-2.0-only
/* devices NAME: use the devices and files of a module of examples/devices, and print what each operation returned. */
#include "devices.h"

static const struct {
	const char *name;
	void (*run)(void);
} modules[] = {
	{ "quanta", quanta }, { "conduit", conduit }, { "window", window }, { "shelf", shelf },
	{ "errand", errand }, { "mirror", mirror },   { "crowd", crowd },   { "tune", tune },
	{ "grove", grove },   { "chime", chime },     { "gates", gates },   { "keys", keys },
	{ "line", line },     { "ware", ware },	      { "port", port },	    { "disk", disk },
	{ "wire", wire },     { "herald", herald },   { "ledger", ledger }, { "marks", marks },
};

int main(int count, char **words)
{
	unsigned n;

	setvbuf(stdout, NULL, _IONBF, 0);
	for (n = 0; count > 1 && n < sizeof(modules) / sizeof(*modules); n++)
		if (!strcmp(words[1], modules[n].name)) {
			modules[n].run();
			return 0;
		}
	return 2;
}
