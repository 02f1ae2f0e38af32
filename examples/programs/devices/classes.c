// SPDX-License-Identifier: GPL-2.0-only
/* Devices of the kernel's classes: input, terminals, firmware, drivers in user space, disks. */
#include "devices.h"

#include <glob.h>
#include <linux/fs.h>
#include <linux/input.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <termios.h>

static void show_events(int file)
{
	struct input_event events[16];
	ssize_t n, done = read(file, events, sizeof(events));

	show("events", done < 0 ? done : done / (ssize_t)sizeof(*events));
	for (n = 0; n < done / (ssize_t)sizeof(*events); n++)
		printf("  type %u code %u value %d\n", events[n].type, events[n].code, events[n].value);
}

static int open_keys(void)
{
	char name[64], path[32];
	int n, file;

	for (n = 0; n < 20; n++) {
		snprintf(path, sizeof(path), "/dev/input/event%d", n);
		file = open(path, O_RDWR);
		if (file >= 0 && ioctl(file, EVIOCGNAME(sizeof(name)), name) > 0 && !strcmp(name, "Three buttons"))
			return file;
		close(file);
	}
	return -1;
}

void keys(void)
{
	int file = open_keys(), other = open_keys();
	struct pollfd ready = { file, POLLIN, 0 };
	struct input_event light[] = { { .type = EV_LED, .code = LED_CAPSL, .value = 1 }, { .type = EV_SYN } };
	unsigned char bits[KEY_MAX / 8] = "";
	struct input_id id;
	char text[64];

	show("open", file < 0 ? -1 : 0);
	show("EVIOCGNAME", ioctl(file, EVIOCGNAME(sizeof(text)), text));
	printf("  %s\n", text);
	show("EVIOCGPHYS", ioctl(file, EVIOCGPHYS(sizeof(text)), text));
	printf("  %s\n", text);
	show("EVIOCGUNIQ", ioctl(file, EVIOCGUNIQ(sizeof(text)), text));
	show("EVIOCGID", ioctl(file, EVIOCGID, &id));
	printf("  %x %x\n", id.bustype, id.vendor);
	show("EVIOCGBIT", ioctl(file, EVIOCGBIT(EV_KEY, sizeof(bits)), bits));
	printf("  %x %x\n", bits[BTN_0 / 8], bits[BTN_1 / 8]);
	show("poll", poll(&ready, 1, 0));
	put("/sys/kernel/debug/press", "256");
	show("poll", poll(&ready, 1, 1000));
	show_events(file);
	put("/sys/kernel/debug/press", "300"); /* no such key */
	put("/sys/kernel/debug/press", "-2");
	show_events(file);
	show("grab", ioctl(file, EVIOCGRAB, 1));
	show("grab of another", ioctl(other, EVIOCGRAB, 1));
	fcntl(other, F_SETFL, O_NONBLOCK);
	show_events(other);
	put("/sys/kernel/debug/press", "258");
	show_events(other);
	show_events(file);
	show("write", write(file, light, sizeof(light)));
	if (!fork()) {
		usleep(10000);
		_exit(write(open("/sys/kernel/debug/press", O_WRONLY), "257", 3) != 3);
	}
	show_events(file);
	wait(NULL);
	close(other);
	close(file);
}

void line(void)
{
	int file = open("/dev/line0", O_RDWR | O_NOCTTY), bits, status;
	struct winsize size = { 25, 80, 0, 0 };
	struct termios termios;
	struct stat node;

	show("open", file < 0 ? -1 : 0);
	fstat(file, &node);
	show("isatty", isatty(file));
	show("tcgetattr", tcgetattr(file, &termios));
	printf("  %o %o %o %o\n", termios.c_iflag, termios.c_oflag, termios.c_cflag, termios.c_lflag);
	termios.c_lflag &= ~ECHO;
	cfsetspeed(&termios, B9600);
	show("tcsetattr", tcsetattr(file, TCSANOW, &termios));
	show("write", write(file, "a line\nand", 10));
	show_read(file, 100);
	show("write", write(file, " an\b\177other\n", 11));
	show_read(file, 100);
	show("FIONREAD", ioctl(file, FIONREAD, &bits));
	show("TIOCMGET", ioctl(file, TIOCMGET, &bits));
	printf("  %#x\n", bits);
	show("TIOCSWINSZ", ioctl(file, TIOCSWINSZ, &size));
	size.ws_row = 0;
	show("TIOCGWINSZ", ioctl(file, TIOCGWINSZ, &size));
	printf("  %u x %u\n", size.ws_row, size.ws_col);
	cfmakeraw(&termios);
	termios.c_cc[VMIN] = 3;
	termios.c_cc[VTIME] = 0;
	show("tcsetattr", tcsetattr(file, TCSANOW, &termios));
	show("write", write(file, "abcd", 4));
	show_read(file, 2);
	show_read(file, 100);
	termios.c_cc[VMIN] = 0;
	termios.c_cc[VTIME] = 2;
	tcsetattr(file, TCSANOW, &termios);
	show_read(file, 100);
	show("tcdrain", tcdrain(file));
	show("tcflush", tcflush(file, TCIOFLUSH));
	show("tcsendbreak", tcsendbreak(file, 0));
	show("TIOCEXCL", ioctl(file, TIOCEXCL));
	show("tcgetsid", tcgetsid(file));
	if (!fork()) {
		setsid();
		show("TIOCSCTTY", ioctl(file, TIOCSCTTY, 0));
		show("foreground", tcgetpgrp(file) == getpid());
		pause();
		_exit(0);
	}
	usleep(10000);
	show("write of what hangs up", write(file, "!", 1));
	waitpid(-1, &status, 0);
	show("the session's leader", WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status));
	show_read(file, 10);
	show("write", write(file, "x", 1));
	show("tcgetattr", tcgetattr(file, &termios));
	close(file);
	show("open again", (file = open("/dev/line0", O_RDWR | O_NOCTTY)) < 0 ? -1 : 0);
	if (!fork()) {
		setsid();
		tcgetattr(file, &termios);
		termios.c_lflag |= ISIG;
		tcsetattr(file, TCSANOW, &termios);
		ioctl(file, TIOCSCTTY, 0);
		write(file, "\3", 1); /* the answer is ^C */
		pause();
		_exit(0);
	}
	waitpid(-1, &status, 0);
	show("interrupted", WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status));
	close(file);
}

void ware(void)
{
	int file = open("/dev/ware", O_RDWR), made;

	show_read(file, 10);
	mkdir("/lib", 0755);
	mkdir("/lib/firmware", 0755);
	mkdir("/lib/firmware/ware", 0755);
	made = open("/lib/firmware/ware/one.bin", O_WRONLY | O_CREAT, 0644);
	show("a file", write(made, "the firmware", 12));
	close(made);
	show("load", write(file, "ware/one.bin", 12));
	show_read(file, 100);
	show("load none", write(file, "ware/none.bin", 13));
	show("load none", write(file, "?ware/none.bin", 14));
	show("load ..", write(file, "../firmware/ware/one.bin", 24));
	show("load a directory", write(file, "?ware", 5));
	show("load later", write(file, "later ware/one.bin", 18));
	lseek(file, 0, SEEK_SET);
	show("pread", pread(file, &made, 4, 4));
	show("load none later", write(file, "later none", 10));
	unlink("/lib/firmware/ware/one.bin");
	rmdir("/lib/firmware/ware");
}

void port(void)
{
	int file = open("/dev/uio0", O_RDWR), off = 0, on = 1;
	struct pollfd ready = { file, POLLIN, 0 };
	uint32_t *registers = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0), count;

	show("open", file < 0 ? -1 : 0);
	show("mmap", registers == MAP_FAILED ? -1 : 0);
	show("mmap of another", mmap(NULL, 4096, PROT_READ, MAP_SHARED, file, 4096) == MAP_FAILED ? -1 : 0);
	show("mmap of more", mmap(NULL, 8192, PROT_READ, MAP_SHARED, file, 0) == MAP_FAILED ? -1 : 0);
	printf("  %x\n", registers[1]);
	show_file("/sys/class/uio/uio0/name");
	show_file("/sys/class/uio/uio0/maps/map0/name");
	show_file("/sys/class/uio/uio0/maps/map0/size");
	show("poll", poll(&ready, 1, 50));
	show("interrupts on", write(file, &on, 4));
	show("poll", poll(&ready, 1, 1000));
	for (on = 0; on < 3; on++) {
		show("read", read(file, &count, 4));
		printf("  %u, register %u\n", count, registers[0]);
	}
	show("poll", poll(&ready, 1, 50));
	show("interrupts off", write(file, &off, 4));
	show("read of 3 bytes", read(file, &count, 3));
	show("event", pread(open("/sys/class/uio/uio0/event", O_RDONLY), &count, 1, 0));
}

static void copy(const char *from, const char *to)
{
	static char data[1 << 16];
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY);
	long total = 0;
	ssize_t done;

	while ((done = read(in, data, sizeof(data))) > 0)
		total += write(out, data, done);
	show("fsync", fsync(out));
	show("copied", done < 0 ? -1 : total);
	close(in);
	close(out);
}

void disk(void)
{
	static char block[4096] __attribute__((aligned(4096)));
	int file = open("/dev/disk0", O_RDWR), straight = open("/dev/disk0", O_RDWR | O_DIRECT), value = 0;
	struct statfs about;
	uint64_t size = 0;
	char text[20] = "";

	show("BLKGETSIZE64", ioctl(file, BLKGETSIZE64, &size));
	printf("  %llu\n", (long long)size);
	show("BLKSSZGET", ioctl(file, BLKSSZGET, &value));
	printf("  %d\n", value);
	show("BLKROGET", ioctl(file, BLKROGET, &value));
	show("pwrite", pwrite(file, "in the cache", 12, 1000));
	show("pread", pread(straight, block, 4096, 0));
	printf("  \"%.12s\"\n", block + 1000);
	strcpy(block + 1000, "straight");
	show("pwrite", pwrite(straight, block, 4096, 0));
	show("pread", pread(file, text, 12, 1000));
	printf("  \"%s\"\n", text);
	show("pread of a part", pread(straight, block, 100, 0));
	show("pread behind the end", pread(file, text, 10, size));
	show("pwrite behind the end", pwrite(file, text, 10, size));
	show("lseek", lseek(file, 0, SEEK_END));
	show("BLKFLSBUF", ioctl(file, BLKFLSBUF, 0));
	show("BLKDISCARD", ioctl(file, BLKDISCARD, (uint64_t[]){ 0, 4096 }));
	show("BLKZEROOUT", ioctl(file, BLKZEROOUT, (uint64_t[]){ 0, 4096 }));
	close(straight);
	close(file);
	copy("/bin/ext4.img", "/dev/disk0");
	mkdir("/tmp/mnt", 0755);
	show("mount as what it is not", mount("/dev/disk0", "/tmp/mnt", "ext2x", 0, ""));
	show("mount", mount("/dev/disk0", "/tmp/mnt", "ext4", 0, "data=journal"));
	show_file("/tmp/mnt/greeting");
	file = open("/tmp/mnt/new", O_RDWR | O_CREAT, 0600);
	show("write", write(file, "written to ext4", 15));
	show("fsync", fsync(file));
	close(file);
	show("mkdir", mkdir("/tmp/mnt/directory", 0700));
	show("rename", rename("/tmp/mnt/new", "/tmp/mnt/directory/renamed"));
	show("symlink", symlink("directory/renamed", "/tmp/mnt/link"));
	show("statfs", statfs("/tmp/mnt", &about));
	printf("  %lx, %ld blocks of %ld, %ld nodes\n", about.f_type, about.f_blocks, about.f_bsize, about.f_files);
	show("umount", umount("/tmp/mnt"));
	show("mount to read", mount("/dev/disk0", "/tmp/mnt", "ext4", MS_RDONLY, NULL));
	show_file("/tmp/mnt/link");
	show("open to write", open("/tmp/mnt/greeting", O_RDWR));
	show("remount", mount("/dev/disk0", "/tmp/mnt", "ext4", MS_REMOUNT, NULL));
	put("/tmp/mnt/greeting", "HELLO");
	show_file("/tmp/mnt/greeting");
	sync();
	show("umount", umount("/tmp/mnt"));
}
