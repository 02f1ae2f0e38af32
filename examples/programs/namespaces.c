/* Namespaces of children, and filters of system calls, which children inherit. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *host(void)
{
	static struct utsname name;

	uname(&name);
	return name.nodename;
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		printf("%s: %s\n", path, strerror(errno));
	close(fd);
}

static int links(const char *path)
{
	FILE *file = fopen(path, "r");
	char line[256];
	int count = 0;

	while (file && fgets(line, sizeof line, file))
		count++;
	if (file)
		fclose(file);
	return count - 2; /* of the heading */
}

static int call(int (*work)(void), long flags)
{
	int status = -1;
	long pid = syscall(SYS_clone, flags | 17, 0, 0, 0, 0);

	if (pid < 0)
		return printf("clone: %s\n", strerror(errno));
	if (pid == 0) {
		status = work();
		fflush(stdout);
		_exit(status);
	}
	waitpid(pid, &status, 0);
	printf("status %#x\n", status);
	return 0;
}

static int names(void)
{
	sethostname("inner", 5);
	printf("child: %s\n", host());
	return 1;
}

static int mounts(void)
{
	struct stat status;

	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		perror("private");
	if (mount("inner", "/tmp", "tmpfs", 0, NULL))
		perror("mount");
	close(open("/tmp/inner", O_CREAT, 0600));
	printf("child: %d\n", stat("/tmp/inner", &status));
	return 2;
}

static int network(void)
{
	printf("child: %d device\n", links("/proc/self/net/dev"));
	return 3;
}

static int user(void)
{
	printf("child: uid %d, setuid %d\n", getuid(), setuid(0));
	put("/proc/self/setgroups", "deny");
	put("/proc/self/uid_map", "0 1000 1");
	put("/proc/self/gid_map", "0 1000 1");
	printf("child: uid %d gid %d, sethostname %d\n", getuid(), getgid(), sethostname("no", 2));
	printf("child: unshare %d, sethostname %d\n", unshare(CLONE_NEWUTS), sethostname("mine", 4));
	printf("child: %s\n", host());
	return 4;
}

static int as_nobody(void)
{
	if (setgid(1000) || setuid(1000))
		return 1;
	call(names, CLONE_NEWUTS);
	call(user, CLONE_NEWUSER);
	call(names, CLONE_NEWUSER | CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWIPC);
	return 0;
}

static int filtered(void)
{
	long parent = syscall(SYS_getppid);

	printf("child: getppid %s\n", parent < 0 ? strerror(errno) : "works");
	return 5;
}

static int unshared(void)
{
	if (unshare(CLONE_NEWUTS | CLONE_NEWNS | CLONE_FS | CLONE_FILES))
		perror("unshare");
	sethostname("outer", 5);
	call(names, 0);
	printf("parent: %s\n", host());
	return 6;
}

static int forbidding(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EDOM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof code / sizeof *code, code };

	call(filtered, 0);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		perror("seccomp");
	call(filtered, 0);
	printf("mode %d\n", prctl(PR_GET_SECCOMP));
	return 7;
}

int main(void)
{
	struct stat status;

	setvbuf(stdout, NULL, _IONBF, 0);
	mkdir("/tmp", 0777);
	sethostname("machine", 7);
	call(names, CLONE_NEWUTS);
	printf("parent: %s\n", host());
	call(mounts, CLONE_NEWNS);
	printf("parent: %d\n", stat("/tmp/inner", &status));
	call(network, CLONE_NEWNET);
	call(as_nobody, 0);
	call(unshared, 0);
	call(names, CLONE_NEWUSER | CLONE_FS);
	call(names, CLONE_NEWNS | CLONE_FS);
	printf("parent: %s\n", host());
	call(forbidding, 0);
	call(filtered, 0);
	return 0;
}
