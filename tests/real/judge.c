/* A kernel for the C modprobe in a root of its own: it takes modules whose dependencies are there, unless
 * module_blacklist= has them or their int is not one, and keeps /sys/module. Preloaded into modprobe and the
 * shells that it starts. */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

/* A command that calls itself would fill the machine: it ends here, as it would when no process is left.
 * Soon: with -q, each modprobe doubles what it hands down in MODPROBE_OPTIONS. */
__attribute__((constructor)) static void count_processes(void)
{
    struct stat status;
    int fd = open("/processes", O_WRONLY | O_APPEND);
    if (fd < 0 || fstat(fd, &status) || status.st_size >= 24)
        _exit(1);
    write(fd, ".", 1);
    close(fd);
}

static int is_loaded(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "/sys/module/%s/initstate", name);
    return access(path, F_OK) == 0;
}

static const char *field(const char *image, size_t size, const char *key)
{
    const char *found = memmem(image, size, key, strlen(key));
    return found ? found + strlen(key) : "";
}

static int is_denied(const char *name)
{
    char line[4096] = "", *list = NULL;
    int fd = open("/proc/cmdline", O_RDONLY);
    if (fd < 0 || read(fd, line, sizeof line - 1) < 0)
        return 0;
    close(fd);
    /* Of several, the last counts: it is a parameter of the type charp. */
    for (char *word = strtok(line, " \n"); word; word = strtok(NULL, " \n"))
        if (!strncmp(word, "module_blacklist=", strlen("module_blacklist=")))
            list = word + strlen("module_blacklist=");
    if (!list)
        return 0;
    for (char *one = strtok(list, ","); one; one = strtok(NULL, ","))
        if (!strcmp(one, name))
            return 1;
    return 0;
}

static int load(const char *image, size_t size, const char *params)
{
    char depends[256], path[256];
    const char *name = field(image, size, "judged_name=");
    if (is_denied(name)) {
        errno = EPERM;
        return -1;
    }
    int has_debug = memmem(image, size, "parmtype=debug:int", strlen("parmtype=debug:int")) != NULL;
    for (const char *one = params; has_debug && (one = strstr(one, "debug=")); one++)
        if (!isdigit(one[strlen("debug=")])) {
            errno = EINVAL;
            return -1;
        }
    snprintf(depends, sizeof depends, "%s", field(image, size, "judged_needs="));
    for (char *one = strtok(depends, ","); one; one = strtok(NULL, ","))
        if (!is_loaded(one)) {
            errno = ENOENT;
            return -1;
        }
    if (is_loaded(name)) {
        errno = EEXIST;
        return -1;
    }
    snprintf(path, sizeof path, "/sys/module/%s", name);
    mkdir(path, 0755);
    strcat(path, "/initstate");
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0644);
    write(fd, "live\n", 5);
    close(fd);
    return 0;
}

long init_module(const void *image, unsigned long size, const char *params)
{
    return load(image, size, params);
}

int finit_module(int fd, const char *params, int flags)
{
    static char image[1 << 16];
    (void)flags;
    return load(image, pread(fd, image, sizeof image, 0), params);
}

long delete_module(const char *name, unsigned flags)
{
    char path[256];
    (void)flags;
    if (!is_loaded(name)) {
        errno = ENOENT;
        return -1;
    }
    snprintf(path, sizeof path, "/sys/module/%s/initstate", name);
    unlink(path);
    snprintf(path, sizeof path, "/sys/module/%s", name);
    return rmdir(path);
}

int uname(struct utsname *name)
{
    memset(name, 0, sizeof *name);
    strcpy(name->sysname, "Linux");
    strcpy(name->release, "4.4.4");
    return 0;
}
