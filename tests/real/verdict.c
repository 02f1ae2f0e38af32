// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs in the guest of tests/real/verdicts.py: tries modules, one a line, and says what came of each.
 *
 * A line is paths of modules, what is needed first and the module itself last. The answer is what the kernel
 * logged for it, a line each that begins with a bar, and then
 *
 *   NAME ERRNO EXIT TAINT LEFT...
 *
 * the module that ended it and finit_module's errno (0: the last one is in), delete_module's errno a second
 * later (-1: was not tried), the kernel's taint flags, and the modules that could not be removed afterwards.
 * All but the removal at the end is done by a child, which an oops kills: ERRNO is then -1.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_LINE 65536
#define MAX_NAME 64

struct finding {
	char name[MAX_NAME];
	int load, unload;
};

/* The name that a file's module goes by: kernel/net/nf-tables.ko is nf_tables. */
static void module_name(const char *path, char name[MAX_NAME])
{
	const char *base = strrchr(path, '/');

	snprintf(name, MAX_NAME, "%s", base ? base + 1 : path);
	name[strcspn(name, ".")] = 0;
	for (char *at = name; *at; at++)
		if (*at == '-')
			*at = '_';
}

static int is_loaded(const char *name)
{
	char line[4096], first[MAX_NAME];
	FILE *modules = fopen("/proc/modules", "r");
	int found = 0;

	while (!found && fgets(line, sizeof(line), modules))
		found = sscanf(line, "%63s", first) == 1 && !strcmp(first, name);
	fclose(modules);
	return found;
}

static int insert(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int result = fd < 0 ? -1 : syscall(SYS_finit_module, fd, "", 0);
	int error = result < 0 ? errno : 0;

	close(fd);
	return error;
}

static int take_out(const char *name)
{
	return syscall(SYS_delete_module, name, O_NONBLOCK) < 0 ? errno : 0;
}

static void try_modules(char *line, struct finding *found)
{
	for (char *path = strtok(line, " \n"); path; path = strtok(NULL, " \n")) {
		module_name(path, found->name);
		found->load = -1;
		int error = is_loaded(found->name) ? 0 : insert(path);
		found->load = error;
		if (error)
			return;
	}
	sleep(1);
	found->unload = take_out(found->name);
}

/* Take out all that lets itself be taken out; one round for each level of dependencies. */
static void take_out_all(void)
{
	char line[4096], name[MAX_NAME];
	int progress, users;

	do {
		FILE *modules = fopen("/proc/modules", "r");

		progress = 0;
		while (fgets(line, sizeof(line), modules))
			if (sscanf(line, "%63s %*d %d", name, &users) == 2 && !users)
				progress |= !take_out(name);
		fclose(modules);
	} while (progress);
}

/* What the kernel has logged since the last time: each read is "priority,sequence,time,flags;text\n...". */
static void tell_log(int kmsg, int quietly)
{
	char record[8192];
	ssize_t length;

	while ((length = read(kmsg, record, sizeof(record) - 1)) > 0 || (length < 0 && errno == EPIPE)) {
		if (quietly || length < 0)
			continue;
		record[length] = 0;
		char *text = strchr(record, ';');
		if (text)
			printf("|%.*s\n", (int)strcspn(text + 1, "\n"), text + 1);
	}
}

static void answer(const struct finding *found)
{
	char line[4096], taint[32] = "0";
	FILE *file = fopen("/proc/sys/kernel/tainted", "r");

	if (fscanf(file, "%31s", taint) != 1)
		exit(1);
	fclose(file);
	printf("%s %d %d %s", found->name, found->load, found->unload, taint);
	file = fopen("/proc/modules", "r");
	while (fgets(line, sizeof(line), file)) {
		line[strcspn(line, " ")] = 0;
		printf(" %s", line);
	}
	fclose(file);
	printf("\n@answered\n");
	fflush(stdout);
}

int main(void)
{
	static char line[MAX_LINE];
	struct finding *found = mmap(NULL, sizeof(*found), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	int kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);

	while (fgets(line, sizeof(line), stdin)) {
		tell_log(kmsg, 1);
		*found = (struct finding){ "?", -1, -1 };
		pid_t child = fork();
		if (!child) {
			try_modules(line, found);
			_exit(0);
		}
		waitpid(child, NULL, 0);
		tell_log(kmsg, 0);
		take_out_all();
		answer(found);
	}
	return 0;
}
