// SPDX-License-Identifier: GPL-2.0-only
/* Many devices of one driver, files that are set, and a file system. */
#include "devices.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>

static void show_node(const char *path)
{
	struct stat status;

	if (show(path, stat(path, &status)) == 0)
		printf("  %o, device %d\n", status.st_mode, (int)(status.st_rdev & 0xff));
}

void crowd(void)
{
	struct iovec parts[] = { { "one ", 4 }, { "two ", 4 }, { "", 0 }, { "three", 5 } };
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10 };
	char first[3], second[40], *volatile nowhere = (char *)8;
	struct iovec halves[] = { { first, 3 }, { second, 40 } };
	int file = open("/dev/crowd/7", O_RDWR), other = open("/dev/crowd/7", O_RDWR | O_APPEND), pipes[2], copy;
	ssize_t done;
	loff_t at = 0;

	show_node("/dev/crowd/7");
	show_node("/dev/crowd/98");
	show_node("/dev/crowd/100");
	show("open alone", open("/dev/crowd/7", O_RDWR | O_EXCL));
	show_read(file, 100);
	show("writev", writev(file, parts, 4));
	show("lseek", lseek(file, 1, SEEK_SET));
	show("readv", done = readv(file, halves, 2));
	printf("  \"%.3s\" \"%.*s\"\n", first, (int)done - 3, second);
	show("writev at 300", pwritev(file, parts, 2, 300));
	show("write from nowhere", write(file, nowhere, 4));
	show("writes that are appended", write(other, "x", 1) + write(other, "y", 1));
	show("lseek", lseek(other, 0, SEEK_SET));
	show_read(other, 100);
	pipe(pipes);
	show("splice to a pipe", splice(file, &at, pipes[1], NULL, 9, 0));
	show("lseek", at);
	show_read(pipes[0], 100);
	show("write", write(pipes[1], "spliced", 7));
	show("splice from a pipe", splice(pipes[0], NULL, other, NULL, 100, SPLICE_F_MOVE));
	show("vmsplice", vmsplice(pipes[1], parts, 2, 0));
	show("tee", tee(pipes[0], pipes[1], 100, SPLICE_F_NONBLOCK));
	show_read(pipes[0], 100);
	at = 2;
	show("sendfile", sendfile(pipes[1], file, &at, 5));
	show_read(pipes[0], 100);
	show("copy_file_range", copy_file_range(file, &at, other, NULL, 5, 0));
	show("fsync", fsync(file));
	show("fdatasync", fdatasync(file));
	show("flock", flock(file, LOCK_EX));
	show("flock of another", flock(other, LOCK_SH | LOCK_NB));
	show("lock", fcntl(file, F_SETLK, &lock));
	copy = dup(file);
	show("close of a copy", close(copy));
	show("unlocked by that", fcntl(other, F_OFD_SETLK, &lock));
	show("close", close(file));
	show("flock of another", flock(other, LOCK_SH | LOCK_NB));
	show("ftruncate", ftruncate(other, 3));
	show("fallocate", fallocate(other, 0, 0, 3));
}

/* Count what a file of many pieces holds, and print its end. */
static void show_all(const char *path)
{
	char text[1000] = "", end[10] = "";
	int file = open(path, O_RDONLY);
	long total = 0;
	ssize_t done;

	while ((done = read(file, text, sizeof(text))) > 0) {
		total += done;
		if (done >= 9)
			memcpy(end, text + done - 9, 9);
	}
	show(path, done < 0 ? -1 : total);
	show("pread", pread(file, text, 10, 5000));
	printf("  %.10s%s", text, end);
	close(file);
}

/* Write each of some texts to a file; its name, what each write returned, and what the file is before and after. */
static void set(const char *path)
{
	static const char *const values[] = { "11", "7,8,9", "Y", "300", "x y", "", "\n", "-1", "16" };
	size_t n;
	int file;

	show_file(path);
	for (n = 0; n < sizeof(values) / sizeof(*values); n++) {
		file = open(path, O_WRONLY);
		show(values[n], file < 0 ? -1 : write(file, values[n], strlen(values[n])));
		close(file);
	}
	show_file(path);
}

void tune(void)
{
	set("/proc/sys/tune/bounded");
	set("/proc/sys/tune/long");
	set("/proc/sys/tune/text");
	set("/sys/kernel/debug/tune/byte");
	set("/sys/kernel/debug/tune/wide");
	set("/sys/kernel/debug/tune/on");
	set("/sys/kernel/debug/tune/counter");
	set("/sys/kernel/debug/tune/array");
	set("/sys/kernel/debug/tune/blob");
	set("/sys/kernel/debug/tune/link");
	set("/sys/kernel/debug/tune/square");
	set("/sys/module/tune/parameters/loud");
	set("/sys/module/tune/parameters/few");
	set("/sys/module/tune/parameters/flag");
	set("/sys/module/tune/parameters/word");
	set("/sys/module/tune/parameters/name");
	show_file("/sys/module/tune/initstate");
	show_file("/sys/module/tune/refcnt");
	show_file("/sys/module/tune/taint");
	show_all("/proc/squares");
	show_all("/sys/kernel/debug/tune/squares");
	show("chmod", chmod("/sys/kernel/debug/tune/byte", 0));
	show("unlink", unlink("/sys/kernel/debug/tune/byte"));
	show("mkdir", mkdir("/sys/kernel/debug/tune/x", 0755));
}

void grove(void)
{
	struct dirent *entry;
	int file;
	DIR *directory;

	mkdir("/tmp/grove", 0755);
	show("mount", mount("none", "/tmp/grove", "grovefs", MS_NOSUID, NULL));
	show("mount with an option", mount("none", "/tmp/grove", "grovefs", 0, "leaves=1"));
	directory = opendir("/tmp/grove");
	while ((entry = readdir(directory)))
		printf("  %s, %d\n", entry->d_name, entry->d_type);
	closedir(directory);
	show_file("/tmp/grove/oak");
	show_file("/tmp/grove/oak");
	put("/tmp/grove/oak", "40");
	put("/tmp/grove/oak", "x");
	show_file("/tmp/grove/oak");
	show("creat", creat("/tmp/grove/ash", 0644));
	show("unlink", unlink("/tmp/grove/elm"));
	show_file("/tmp/grove/elm");
	file = open("/tmp/grove/oak", O_RDONLY);
	show("umount in use", umount("/tmp/grove"));
	close(file);
	show("umount", umount("/tmp/grove"));
	show("rmdir", rmdir("/tmp/grove"));
}
