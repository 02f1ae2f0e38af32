// SPDX-License-Identifier: GPL-2.0-only
/* What a program asks of its kernel, one subject a word: trial signals, trial memory, ... Build it with -static. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static sigjmp_buf again;
static volatile sig_atomic_t caught;
static char *base; /* of the addresses that are shown */

static void note(int signal)
{
	caught = signal;
}

static void leap(int signal, siginfo_t *info, void *context)
{
	printf("signal %d, code %d, address %p\n", signal, info->si_code, (void *)((char *)info->si_addr - (unsigned long)base));
	siglongjmp(again, 1);
}

static void on(int signal, void (*handler)(int, siginfo_t *, void *))
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };

	sigaction(signal, &action, NULL);
}

#define FAULTS(what, statement) \
	do { \
		printf("%s: ", what); \
		if (!sigsetjmp(again, 1)) { \
			statement; \
			puts("nothing"); \
		} \
	} while (0)

/* A call, its result and its errno. */
#define TRY(what, call) \
	do { \
		long result; \
		errno = 0; \
		result = (long)(call); \
		printf("%s %ld, %s\n", what, result, strerror(errno)); \
	} while (0)

static int faults(char **words)
{
	static const char text[] = "constant";
	int signals[] = { SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGBUS };
	volatile double kept = 1.25;
	unsigned n;

	for (n = 0; n < sizeof(signals) / sizeof(*signals); n++)
		on(signals[n], leap);
	FAULTS("load", (void)*(volatile int *)16);
	FAULTS("store", *(volatile int *)24 = 1);
	FAULTS("constant", *(volatile char *)0x400000 = 1);
	FAULTS("kernel", (void)*(volatile char *)0xffffffff81000000);
	FAULTS("jump", ((void (*)(void))0xffff888000000000)());
	FAULTS("division", __asm__ volatile("xor %%ecx, %%ecx\n\tdiv %%ecx" ::: "eax", "ecx", "edx"));
	FAULTS("ud2", __asm__ volatile("ud2"));
	FAULTS("int3", __asm__ volatile("int3"));
	FAULTS("hlt", __asm__ volatile("hlt"));
	FAULTS("cli", __asm__ volatile("cli"));
	FAULTS("int 14", __asm__ volatile("int $14"));
	FAULTS("int 32", __asm__ volatile("int $32"));
	FAULTS("far call", __asm__ volatile("lcall *%0" ::"m"(*(char(*)[6]) "\0\0\0\0\x83")));
	FAULTS("not canonical", (void)*(volatile char *)0x1234567890abcdef);
	printf("%s %.2f\n", text, kept * 3);
	return 0;
}

static int signals(char **words)
{
	sigset_t set;
	stack_t stack = { .ss_sp = malloc(65536), .ss_size = 65536 };

	signal(SIGUSR1, note);
	kill(getpid(), SIGUSR1);
	printf("caught %d\n", caught);
	signal(SIGALRM, note);
	alarm(1);
	TRY("pause", pause());
	printf("caught %d\n", caught);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGUSR2, note);
	raise(SIGUSR2);
	printf("blocked, caught %d\n", caught);
	sigpending(&set);
	printf("pending %d\n", sigismember(&set, SIGUSR2));
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	printf("unblocked, caught %d\n", caught);
	signal(SIGUSR1, SIG_IGN);
	raise(SIGUSR1);
	sigaltstack(&stack, NULL);
	struct sigaction action = { .sa_sigaction = leap, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	sigaction(SIGSEGV, &action, NULL);
	FAULTS("without a stack", __asm__ volatile("xor %%esp, %%esp\n\tpush %%rax" ::: "memory"));
	return 0;
}

static int memory(char **words)
{
	/* Wherever it lies, there is a whole huge page in it. */
	const size_t size = 4 << 20;
	char *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *top = sbrk(0), line[256];
	volatile unsigned lines = 0;
	unsigned n, sum = 0;
	FILE *maps;

	on(SIGSEGV, leap);
	memset(map, 7, size);
	for (n = 0; n < size; n += 4096)
		sum += map[n];
	printf("sum %u\n", sum);
	printf("mprotect %d: ", mprotect(map, 4096, PROT_READ));
	base = map;
	FAULTS("a store", map[100] = 1);
	munmap(map, size);
	printf("brk grows %d: ", sbrk(3 << 20) == top);
	memset(top, 1, 3 << 20);
	printf("%d\n", top[(3 << 20) - 1]);
	TRY("mmap of nothing", mmap(NULL, 0, 0, 0, -1, 0));
	maps = fopen("/proc/self/maps", "r");
	while (fgets(line, sizeof(line), maps))
		lines = lines + !!strstr(line, "[heap]") + !!strstr(line, "[stack]");
	printf("heap and stack: %u\n", lines);
	return 0;
}

static int files(char **words)
{
	char buffer[64];
	int file = open("/tmp/trial", O_CREAT | O_RDWR, 0600), ends[2];
	ssize_t count = read(0, buffer, sizeof(buffer));

	printf("read %zd: %.*s\n", count, (int)count, buffer);
	TRY("write", write(file, "abcdef", 6));
	TRY("lseek", lseek(file, 2, SEEK_SET));
	printf("read %zd %.3s\n", read(file, buffer, 3), buffer);
	unlink("/tmp/trial");
	TRY("write", syscall(SYS_write, file, 8L, 10L));
	TRY("read", read(file, (void *)0xffff888000000000, 3));
	TRY("open", open("/nowhere/x", O_RDONLY));
	pipe(ends);
	close(ends[0]);
	signal(SIGPIPE, SIG_IGN);
	TRY("pipe", write(ends[1], "x", 1));
	TRY("syscall", syscall(1000));
	fprintf(stderr, "an error\n");
	return 0;
}

static int clocks(char **words)
{
	struct timespec before, after, nap = { .tv_nsec = 50000000 };
	long passed;

	clock_gettime(CLOCK_MONOTONIC, &before);
	printf("nanosleep %d\n", nanosleep(&nap, NULL));
	clock_gettime(CLOCK_MONOTONIC, &after);
	passed = (after.tv_sec - before.tv_sec) * 1000000000L + after.tv_nsec - before.tv_nsec;
	printf("slept %s\n", passed >= nap.tv_nsec && passed < 20 * nap.tv_nsec ? "long enough" : "amiss");
	return 0;
}

static int identity(char **words)
{
	struct rlimit limit;

	printf("uid %d %d gid %d %d\n", getuid(), geteuid(), getgid(), getegid());
	printf("argument %s, PATH %s\n", words[0] ? words[0] : "none", getenv("PATH"));
	getrlimit(RLIMIT_STACK, &limit);
	printf("stack %ld\n", (long)limit.rlim_cur);
	TRY("sethostname", syscall(SYS_sethostname, "", -1L));
	return 0;
}

static int children(char **words)
{
	int *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int own = 1, status, ends[2], back[2], n;
	volatile int sum = 0;
	volatile double kept = 1.5;
	char buffer[16] = "";
	pid_t child;

	child = fork();
	if (!child) {
		own = *shared = 7;
		kept *= 3;
		printf("child: %d %.2f\n", own, kept);
		_exit(5);
	}
	TRY("its pid", waitpid(child, &status, 0) == child);
	printf("status %#x, own %d, shared %d, %.2f\n", status, own, *shared, kept);
	if (!fork())
		abort();
	wait(&status);
	printf("status %#x\n", status & 0x7f);
	TRY("no child", waitpid(-1, &status, 0));
	TRY("yield", sched_yield());
	pipe(ends);
	pipe(back);
	child = fork();
	if (!child) {
		close(ends[1]);
		n = read(ends[0], buffer, sizeof(buffer));
		printf("from the pipe: %d %.7s\n", n, buffer);
		write(back[1], "", 1);
		pause();
	}
	TRY("not yet", waitpid(child, &status, WNOHANG));
	write(ends[1], "through", 7);
	read(back[0], buffer, 1);
	kill(child, SIGTERM);
	waitpid(child, &status, 0);
	printf("status %#x\n", status);
	child = vfork();
	if (!child) {
		execl("/proc/self/exe", "trial", "status", "9", NULL);
		_exit(1);
	}
	waitpid(child, &status, 0);
	printf("status %#x\n", status);
	for (n = 0; n < 20; n++)
		if (!fork())
			_exit(n);
	while (wait(&status) > 0)
		sum = sum + WEXITSTATUS(status);
	printf("sum %d\n", sum);
	execl("/proc/self/exe", "trial", "status", "6", NULL);
	return 1;
}

static int groups(char **words)
{
	pid_t first, second, child, session;
	int status, ends[2], n;
	char end;

	first = fork();
	if (!first)
		pause();
	second = fork();
	if (!second)
		pause();
	printf("with its parent %d\n", getpgid(first) == getpgrp());
	TRY("a group of its own", setpgid(first, first));
	TRY("which another joins", setpgid(second, first));
	printf("together %d %d\n", getpgid(first) == first, getpgid(second) == first);
	TRY("no such group", setpgid(second, 999999));
	TRY("none in the own group", waitpid(0, &status, WNOHANG));
	TRY("none has ended", waitpid(-first, &status, WNOHANG));
	TRY("kill the group", kill(-first, SIGTERM));
	for (n = 0; n < 2; n++) {
		child = waitpid(-first, &status, 0);
		printf("one of them %d, status %#x\n", child == first || child == second, status);
	}
	TRY("no group is left", kill(-first, SIGTERM));
	TRY("nor a child", waitpid(-first, &status, 0));
	pipe(ends);
	child = fork();
	if (!child) {
		session = setsid();
		printf("leader %d %d %d\n", session == getpid(), getsid(0) == session, getpgrp() == session);
		TRY("twice", setsid());
		TRY("its own group", setpgid(0, 0));
		second = fork();
		if (!second) {
			while (getppid() == session)
				usleep(1000);
			/* the leader has exited, its session and its group are still there */
			printf("left alone %d %d\n", getsid(0) == session, getpgrp() == session);
			signal(SIGUSR1, SIG_IGN);
			TRY("the group", kill(-session, SIGUSR1));
			_exit(0);
		}
		_exit(3);
	}
	waitpid(child, &status, 0);
	close(ends[1]);
	read(ends[0], &end, 1); /* until the last of them has ended */
	printf("status %#x\n", status);
	return 0;
}

/* -- with modules of examples/devices -- */

static int quanta(char **words)
{
	int file = open("/dev/quanta0", O_RDWR), size = 0;
	char buffer[64];
	ssize_t count;

	TRY("write", write(file, "a sentence of its words", 23));
	TRY("lseek", lseek(file, 2, SEEK_SET));
	count = read(file, buffer, sizeof(buffer));
	printf("read %zd %.*s\n", count, (int)count, buffer);
	TRY("ioctl", ioctl(file, _IOR('q', 3, int), &size));
	printf("size %d\n", size);
	TRY("ioctl", ioctl(file, _IO('q', 4)));
	TRY("ioctl", ioctl(file, _IO('x', 1)));
	TRY("ioctl", ioctl(file, _IOR('q', 3, int), 8L));
	return 0;
}

static int conduit(char **words)
{
	int file = open("/dev/conduit", O_RDWR | O_NONBLOCK);
	struct pollfd wait = { .fd = file, .events = POLLIN };
	char buffer[16];

	TRY("read", read(file, buffer, 4));
	printf("poll %d\n", poll(&wait, 1, 10));
	signal(SIGIO, note);
	fcntl(file, F_SETOWN, getpid());
	fcntl(file, F_SETFL, O_NONBLOCK | FASYNC);
	TRY("write", write(file, "four", 4));
	printf("caught %d\n", caught);
	TRY("poll", poll(&wait, 1, 10));
	printf("ready for reading: %d\n", !!(wait.revents & POLLIN));
	printf("read %zd %.4s\n", read(file, buffer, 16), buffer);
	fcntl(file, F_SETFL, 0);
	sigaction(SIGALRM, &(struct sigaction){ .sa_handler = note }, NULL);
	alarm(1);
	TRY("read", read(file, buffer, 4));
	return 0;
}

static int window(char **words)
{
	int file = open("/dev/window", O_RDWR);
	char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);

	if (map == MAP_FAILED) {
		printf("mmap: %s\n", strerror(errno));
		return 1;
	}
	map[4096] = 'x';
	strcpy(map, "through the window");
	printf("%s %c\n", map, map[4096]);
	return 0;
}

/* -- ends -- */

static int status(char **words)
{
	return atoi(words[0]);
}

static int die(char **words)
{
	kill(getpid(), atoi(words[0]));
	return 0;
}

static int crash(char **words)
{
	*(volatile int *)8 = 1;
	return 0;
}

static int spin(char **words)
{
	for (;;)
		__asm__ volatile("");
	return 0;
}

static int wait_for_ever(char **words)
{
	for (;;)
		pause();
	return 0;
}

/* Leave with a stack pointer, flags and an address that no kernel may trust. */
static int forge(char **words)
{
	__asm__ volatile("mov $0xffff888000001000, %rsp\n\t"
			 "movl $39, %eax\n\t"
			 "syscall\n\t" /* getpid() */
			 "pushq $-1\n\t"
			 "popfq\n\t");
	return 0;
}

static int nested(char **words)
{
	__asm__ volatile("mov $0x1234, %rsp\n\t"
			 "mov $60, %eax\n\t"
			 "mov $7, %edi\n\t"
			 "syscall"); /* exit(7) */
	return 0;
}

static int frame(char **words)
{
	/* rt_sigreturn() to the kernel's code, with the kernel's selectors. */
	unsigned long *context = calloc(1, 4096);

	context[5 + 16] = 0xffffffff81000000; /* rip */
	context[5 + 17] = 0x3246; /* flags with IOPL 3 */
	context[5 + 18] = 0x10; /* cs */
	__asm__ volatile("mov %0, %%rsp\n\t"
			 "mov $15, %%eax\n\t"
			 "syscall" ::"r"(context));
	return 0;
}

static int flags(char **words)
{
	unsigned long value;

	__asm__ volatile("pushfq\n\torq $0x4000, (%%rsp)\n\tpopfq\n\t" /* NT */
			 "movl $39, %%eax\n\tsyscall\n\tpushfq\n\tpopq %0" : "=r"(value)::"rax", "rcx", "r11");
	printf("flags %#lx\n", value & 0x4000);
	return 0;
}

static int times(char **words)
{
	long n, count = atol(words[0]);

	for (n = 0; n < count; n++)
		syscall(SYS_getpid);
	return 0;
}

static siginfo_t last; /* of SIGCHLD */

static void told(int signal, siginfo_t *info, void *context)
{
	last = *info;
}

static void child_is(const char *what, pid_t child, int code)
{
	while (last.si_code != code)
		usleep(1000);
	printf("%s: status %#x, of the child %d, uid %d\n", what, last.si_status, last.si_pid == child, last.si_uid == getuid());
}

/* Children that stop, continue and end, and how their parent hears of it. */
static int jobs(char **words)
{
	char *kernel = (char *)0xffff888000001000;
	siginfo_t info;
	int status = 0;
	pid_t child, parent;

	on(SIGCHLD, told);
	child = fork();
	if (!child) {
		raise(SIGSTOP);
		while (1)
			pause();
	}
	printf("stopped %d", waitpid(child, &status, WUNTRACED) == child);
	printf(" %#x\n", status);
	child_is("stopped", child, CLD_STOPPED);
	TRY("reported once", waitpid(child, &status, WUNTRACED | WNOHANG));
	kill(child, SIGCONT);
	printf("continued %d", waitpid(child, &status, WCONTINUED) == child);
	printf(" %#x\n", status);
	child_is("continued", child, CLD_CONTINUED);
	TRY("reported once", waitpid(child, &status, WCONTINUED | WNOHANG));
	kill(child, SIGSTOP);
	memset(&info, 0, sizeof(info));
	TRY("stopped again", waitid(P_PID, child, &info, WSTOPPED));
	printf("code %d, status %d\n", info.si_code, info.si_status);
	TRY("unknown options", waitid(P_PID, child, &info, 0x40000000));
	TRY("no options", waitid(P_PID, child, &info, 0));
	TRY("unknown options", waitpid(child, &status, WEXITED));
	kill(child, SIGKILL);
	memset(&info, 0, sizeof(info));
	TRY("killed", waitid(P_PID, child, &info, WEXITED | WNOWAIT));
	printf("code %d, status %d, uid %d\n", info.si_code, info.si_status, info.si_uid == getuid());
	child_is("killed", child, CLD_KILLED);
	TRY("a zombie", kill(child, 0));
	printf("in its group %d\n", getpgid(child) == getpgrp());
	TRY("joins another", setpgid(child, child));
	printf("waited for %d", waitpid(child, &status, 0) == child);
	printf(" %#x\n", status);
	TRY("gone", kill(child, 0));
	signal(SIGCHLD, SIG_IGN);
	child = fork();
	if (!child)
		_exit(1);
	TRY("nobody wants to know", waitpid(child, &status, 0));
	signal(SIGCHLD, SIG_DFL);
	child = fork();
	if (!child)
		_exit(1);
	TRY("a status for the kernel", waitpid(child, (int *)kernel, 0));
	TRY("is lost", waitpid(child, &status, 0));
	child = syscall(SYS_clone, 0x00100000 /* CLONE_PARENT_SETTID */ | SIGCHLD, 0, kernel, 0, 0);
	if (!child)
		_exit(2);
	printf("a pid for the kernel %d", waitpid(child, &status, 0) == child);
	printf(" %#x\n", status);
	child = fork();
	if (!child) {
		parent = getpid();
		child = fork();
		if (!child) {
			while (getppid() == parent)
				usleep(1000);
			_exit(0);
		}
		_exit(3);
	}
	usleep(100000); /* it is a zombie, and its child has another parent */
	printf("a parent %d", waitpid(child, &status, 0) == child);
	printf(" %#x\n", status);
	return 0;
}

/* Ends while its timers run: by itself, or with a word by a signal. */
static int timers(char **words)
{
	struct itimerspec period = { { 1, 0 }, { 1, 0 } };
	timer_t timer;
	int n;

	alarm(1);
	for (n = 0; n < 3; n++) {
		timer_create(CLOCK_MONOTONIC, NULL, &timer);
		timer_settime(timer, 0, &period, NULL);
	}
	if (words[0])
		kill(getpid(), SIGKILL);
	return 0;
}

/* A system call as 32-bit code makes it, with its numbers: INT 0x80. */
static int int80(unsigned number, unsigned first, unsigned second, unsigned third)
{
	int result;

	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(number), "b"(first), "c"(second), "d"(third)
			 : "r8", "r9", "r10", "r11", "memory");
	return result;
}

static int compat(char **words)
{
	static char text[] = "by INT 0x80\n"; /* at an address of 32 bits */
	struct { int seconds, nanoseconds; } *low = mmap((void *)0x40000, 4096, PROT_READ | PROT_WRITE,
							 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	int child, status, pipes[2];

	printf("getpid %d\n", int80(20, 0, 0, 0) == getpid());
	int80(4, 1, (unsigned)(long)text, sizeof(text) - 1); /* write */
	printf("ioctl %d %d\n", int80(54, 99, 0, 0), int80(54, 0, 12345, 0));
	printf("no such call %d\n", int80(9999, 0, 0, 0));
	printf("a bad address %d\n", int80(4, 1, 8, 1));
	child = int80(2, 0, 0, 0); /* fork */
	if (!child)
		int80(1, 7, 0, 0); /* exit */
	printf("its child %d", waitpid(child, &status, 0) == child);
	printf(" %#x\n", status);
	low->seconds = 0;
	low->nanoseconds = 1000000;
	printf("nanosleep %d\n", int80(162, 0x40000, 0, 0));
	on(SIGALRM, told);
	pipe(pipes);
	ualarm(10000, 0);
	printf("interrupted %d\n", int80(3, pipes[0], 0x40000, 1)); /* read */
	return 0;
}

static const struct {
	const char *name;
	int (*run)(char **words);
} trials[] = {
	{ "faults", faults }, { "signals", signals }, { "memory", memory }, { "files", files },
	{ "clocks", clocks }, { "identity", identity }, { "quanta", quanta }, { "conduit", conduit },
	{ "window", window }, { "status", status }, { "die", die }, { "crash", crash }, { "spin", spin },
	{ "wait", wait_for_ever }, { "forge", forge }, { "nested", nested }, { "frame", frame },
	{ "flags", flags }, { "times", times }, { "children", children },
	{ "groups", groups }, { "timers", timers }, { "jobs", jobs },
	{ "compat", compat },
};

int main(int count, char **words)
{
	unsigned n;

	setvbuf(stdout, NULL, _IONBF, 0);
	for (n = 0; count > 1 && n < sizeof(trials) / sizeof(*trials); n++)
		if (!strcmp(words[1], trials[n].name))
			return trials[n].run(words + 2);
	fprintf(stderr, "no such trial\n");
	return 2;
}
