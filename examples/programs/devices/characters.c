// SPDX-License-Identifier: GPL-2.0-only
/* Character devices that are read, written and mapped, and files with a list. */
#include "devices.h"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>

static volatile sig_atomic_t caught;

void quanta(void)
{
	char *volatile nowhere = (char *)8, *volatile kernel = (char *)0xffff888000000000;
	int file = open("/dev/quanta0", O_RDWR), value = 100;

	show("open", file < 0 ? -1 : 0);
	show("write", write(file, "a sentence of its words", 23));
	show("write", write(file, "ny words", 8));
	show("lseek", lseek(file, 0, SEEK_SET));
	show_read(file, 10);
	show_read(file, 100);
	show("lseek to the end", lseek(file, -5, SEEK_END));
	show_read(file, 100);
	show_read(file, 100);
	show("lseek before the start", lseek(file, -1, SEEK_SET));
	show("pread", pread(file, &value, 4, 2));
	value = 100;
	show("ioctl: query", ioctl(file, _IO('q', 4)));
	show("ioctl: exchange", ioctl(file, _IOWR('q', 5, int), &value));
	printf("  %d\n", value);
	show("ioctl: get", ioctl(file, _IOR('q', 3, int), &value));
	printf("  %d\n", value);
	value = -1;
	show("ioctl: set", ioctl(file, _IOW('q', 1, int), &value));
	show("ioctl: set nothing", ioctl(file, _IOW('q', 1, int), NULL));
	show("ioctl: unknown", ioctl(file, 0x1234));
	lseek(file, 0, SEEK_SET);
	show("read to nowhere", read(file, nowhere, 4));
	show("write from the kernel", write(file, kernel, 4));
	show("mmap", mmap(NULL, 4096, PROT_READ, MAP_SHARED, file, 0) == MAP_FAILED ? -1 : 0);
	close(file);
	show("open to write", file = open("/dev/quanta0", O_WRONLY));
	show("read of it", read(file, &value, 4));
	close(file);
	show_file("/dev/quanta0");
}

static void note(int signal)
{
	caught = signal;
}

void conduit(void)
{
	int file = open("/dev/conduit", O_RDWR), status;
	struct pollfd ready = { file, POLLIN | POLLOUT, 0 };
	ssize_t done;
	pid_t child;

	show("poll", poll(&ready, 1, 0));
	printf("  %#x\n", ready.revents);
	fcntl(file, F_SETFL, O_NONBLOCK);
	show("read of nothing", read(file, &status, 4));
	show("write", write(file, "0123456789abcdefghij", 20));
	show("write without room", write(file, "x", 1));
	show("poll", poll(&ready, 1, 0));
	printf("  %#x\n", ready.revents);
	show_read(file, 100);
	show("lseek", lseek(file, 0, SEEK_SET));
	fcntl(file, F_SETFL, 0);
	if (!(child = fork())) {
		show_read(file, 10);
		_exit(3);
	}
	usleep(10000);
	done = write(file, "woken", 5);
	waitpid(child, &status, 0); /* which of the two prints first is up to the scheduler */
	show("write", done);
	show("the reader's status", WEXITSTATUS(status));
	if (!(child = fork())) {
		signal(SIGALRM, SIG_DFL);
		alarm(1);
		read(file, &status, 4);
		_exit(4);
	}
	waitpid(child, &status, 0);
	show("the reader's signal", WTERMSIG(status));
	signal(SIGIO, note);
	fcntl(file, F_SETOWN, getpid());
	fcntl(file, F_SETFL, FASYNC);
	show("write", write(file, "x", 1));
	show("SIGIO", caught == SIGIO);
	close(file);
}

void window(void)
{
	int file = open("/dev/window", O_RDWR);
	char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);

	show("mmap at once", map == MAP_FAILED ? -1 : 0);
	printf("  \"%s\"\n", map);
	strcpy(map + 4096, "user");
	show("munmap", munmap(map, 8192));
	show("mmap of too much", mmap(NULL, 5 * 4096, PROT_READ, MAP_SHARED, file, 0) == MAP_FAILED ? -1 : 0);
	map = mmap(NULL, 5 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 4096);
	show("mmap by faults", map == MAP_FAILED ? -1 : 0);
	printf("  \"%s\"\n", map + 4096);
	map[2 * 4096] = 'x';
	show("read into it", pread(file, map + 3 * 4096, 6, 0));
	printf("  \"%.6s\"\n", map + 3 * 4096);
	show("read behind it", pread(file, map + 4 * 4096, 6, 0));
	close(file);
	if (!fork()) {
		map[0] = map[4 * 4096]; /* SIGBUS */
		_exit(5);
	}
	wait(&file);
	show("the child's signal", WTERMSIG(file));
}

void shelf(void)
{
	put("/proc/shelf", "The Trial\n");
	put("/proc/shelf", "Ulysses\n");
	show_file("/proc/shelf");
	show_file("/sys/kernel/shelf/count");
	put("/sys/kernel/shelf/count", "7");
	put("/sys/kernel/shelf/count", "0");
	show_file("/proc/shelf");
	show_file("/proc/shelf/none");
}

void errand(void)
{
	int file = open("/dev/errand", O_RDWR), value = 21;
	int *fresh = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	show("ioctl", ioctl(file, _IO('e', 0), &value));
	printf("  %d\n", value);
	show("ioctl of a fresh page", ioctl(file, _IO('e', 0), fresh));
	show("ioctl of nothing", ioctl(file, _IO('e', 0), 16));
	mprotect(fresh, 4096, PROT_READ);
	show("ioctl of a page that is read-only", ioctl(file, _IO('e', 0), fresh));
}

void mirror(void)
{
	int file = open("/dev/mirror", O_RDWR);
	char *map;

	show("write", write(file, "text", 4));
	map = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	show("mmap", map == MAP_FAILED ? -1 : 0);
	printf("  \"%s\"\n", map);
	strcpy(map + 8190, "over");
	show("lseek", lseek(file, 8190, SEEK_SET));
	show_read(file, 4);
	show("mmap of too much", mmap(NULL, 4 * 4096, PROT_READ, MAP_SHARED, file, 0) == MAP_FAILED ? -1 : 0);
	show("mmap of the end", mmap(NULL, 4096, PROT_READ, MAP_SHARED, file, 8192) == MAP_FAILED ? -1 : 0);
}
