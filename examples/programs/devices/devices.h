// SPDX-License-Identifier: GPL-2.0-only
/* What the parts of this program share: each operation is printed with what it returned. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Print an operation's name, and its result or errno. */
static inline long show(const char *name, long result)
{
	if (result < 0)
		printf("%s: -%s\n", name, strerrorname_np(errno));
	else
		printf("%s: %ld\n", name, result);
	return result;
}

static inline void show_read(int file, size_t size)
{
	char text[256];
	ssize_t done = read(file, text, size);

	if (show("read", done) > 0)
		printf("  \"%.*s\"\n", (int)done, text);
}

static inline void show_file(const char *path)
{
	char text[256];
	int file = open(path, O_RDONLY);
	ssize_t done = file < 0 ? -1 : read(file, text, sizeof(text));

	show(path, done);
	if (done > 0)
		printf("%.*s", (int)done, text);
	close(file);
}

static inline void put(const char *path, const char *text)
{
	int file = open(path, O_WRONLY);

	show(path, file < 0 ? -1 : write(file, text, strlen(text)));
	close(file);
}

/* The use of each module. */
void chime(void);
void conduit(void);
void crowd(void);
void disk(void);
void errand(void);
void gates(void);
void grove(void);
void herald(void);
void keys(void);
void ledger(void);
void line(void);
void marks(void);
void mirror(void);
void port(void);
void quanta(void);
void shelf(void);
void tune(void);
void ware(void);
void window(void);
void wire(void);
