/*
 * The variables that a kernel exports, and the first eight bytes of each, as /proc/kallsyms and /proc/kcore have
 * them: "NAME VALUE", in hexadecimal. Run as root.
 */
#include <elf.h>
#include <fcntl.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORTED "__ksymtab_"

static Elf64_Phdr parts[64];
static int part_count, core;

static int value_at(unsigned long address, unsigned long *value)
{
	for (int i = 0; i < part_count; i++) {
		unsigned long offset = address - parts[i].p_vaddr;

		if (parts[i].p_type == PT_LOAD && offset + sizeof(*value) <= parts[i].p_memsz)
			return pread(core, value, sizeof(*value), parts[i].p_offset + offset) == sizeof(*value);
	}
	return 0;
}

static int open_core(void)
{
	Elf64_Ehdr header;

	core = open("/proc/kcore", O_RDONLY);
	if (core < 0 || read(core, &header, sizeof(header)) != sizeof(header))
		return -1;
	part_count = header.e_phnum < 64 ? header.e_phnum : 64;
	return pread(core, parts, part_count * sizeof(*parts), header.e_phoff) < 0 ? -1 : 0;
}

static void each_symbol(void (*see)(unsigned long address, char kind, const char *name))
{
	FILE *symbols = fopen("/proc/kallsyms", "r");
	char line[1024], name[512], kind;
	unsigned long address;

	while (symbols && fgets(line, sizeof(line), symbols))
		if (!strchr(line, '[') && sscanf(line, "%lx %c %511s", &address, &kind, name) == 3)
			see(address, kind, name);
	fclose(symbols);
}

static void note_export(unsigned long address, char kind, const char *name)
{
	(void)address, (void)kind;
	if (!strncmp(name, EXPORTED, strlen(EXPORTED)))
		hsearch((ENTRY){ .key = strdup(name + strlen(EXPORTED)) }, ENTER);
}

static void show_variable(unsigned long address, char kind, const char *name)
{
	unsigned long value;

	if (strchr("dDbBrR", kind) && hsearch((ENTRY){ .key = (char *)name }, FIND) && value_at(address, &value))
		printf("%s %lx\n", name, value);
}

int main(void)
{
	if (open_core() || !hcreate(100000)) {
		perror("/proc/kcore");
		return 1;
	}
	each_symbol(note_export);
	each_symbol(show_variable);
	return 0;
}
