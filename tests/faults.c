/* A library to be preloaded: lets one kind of system call fail, hang or kill the process, for files whose path matches.

   FAULT_CALL   write, read, fsync, rename, list, create, or step: whatever changes a directory, and fsync
   FAULT_MATCH  a part of the path
   FAULT_AFTER  so many calls (for write: bytes) go well
   FAULT_ERROR  then fails with this errno,
   FAULT_SLEEP  or hangs for so many seconds whatever signals come, as calls to a disk that does not answer do,
   FAULT_KILL   or kills the process
   FAULT_ONCE   and then no more
   FAULT_MARK   a file that is made when it begins */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static atomic_long passed;
static atomic_int broken;

static int fault(const char *call, const char *path, long amount) {
    const char *wanted = getenv("FAULT_CALL"), *match = getenv("FAULT_MATCH"), *after = getenv("FAULT_AFTER");
    if (!wanted || strcmp(wanted, call) || !path || (match && !strstr(path, match))) return 0;
    if (!broken && atomic_fetch_add(&passed, amount) + amount <= (after ? atol(after) : 0)) return 0;
    if (broken && getenv("FAULT_ONCE")) return 0;
    broken = 1;
    const char *mark = getenv("FAULT_MARK"), *sleep = getenv("FAULT_SLEEP"), *error = getenv("FAULT_ERROR");
    if (mark) syscall(SYS_close, syscall(SYS_openat, AT_FDCWD, mark, O_CREAT | O_WRONLY, 0666));
    if (getenv("FAULT_KILL")) kill(getpid(), SIGKILL);
    if (sleep) {
        struct timespec left = {atol(sleep), fmod(atof(sleep), 1) * 1e9};
        while (nanosleep(&left, &left) && errno == EINTR) {}
    }
    if (!error) return 0;
    errno = atoi(error);
    return 1;
}

static int fault_on(const char *call, int descriptor, long amount) {
    char link[64], path[4096];
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length < 0) return 0;
    path[length] = 0;
    return fault(call, path, amount);
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define ON_DESCRIPTOR(call, amount, type, name, parameters, arguments) \
    type name parameters { REAL(name); if (fault_on(call, descriptor, amount)) return -1; return real arguments; }
#define ON_PATH(call, type, failed, name, parameters, arguments) \
    type name parameters { REAL(name); \
        if (fault(call, path, 1) || fault("step", path, 1)) return failed; return real arguments; }

ON_DESCRIPTOR("write", size, ssize_t, write, (int descriptor, const void *data, size_t size), (descriptor, data, size))
ON_DESCRIPTOR("write", size, ssize_t, pwrite64, (int descriptor, const void *data, size_t size, off64_t offset),
              (descriptor, data, size, offset))
ON_DESCRIPTOR("read", 1, ssize_t, read, (int descriptor, void *data, size_t size), (descriptor, data, size))
ON_DESCRIPTOR("read", 1, ssize_t, pread64, (int descriptor, void *data, size_t size, off64_t offset),
              (descriptor, data, size, offset))
ON_DESCRIPTOR("read", 1, ssize_t, preadv64, (int descriptor, const struct iovec *parts, int count, off64_t offset),
              (descriptor, parts, count, offset))
ON_DESCRIPTOR("read", 1, ssize_t, preadv64v2,
              (int descriptor, const struct iovec *parts, int count, off64_t offset, int flags),
              (descriptor, parts, count, offset, flags))
ON_PATH("rename", int, -1, rename, (const char *path, const char *to), (path, to))
ON_PATH("unlink", int, -1, unlink, (const char *path), (path))
ON_PATH("mkdir", int, -1, mkdir, (const char *path, mode_t mode), (path, mode))
ON_PATH("rmdir", int, -1, rmdir, (const char *path), (path))
ON_PATH("list", DIR *, NULL, opendir, (const char *path), (path))

int fsync(int descriptor) {
    REAL(fsync);
    if (fault_on("fsync", descriptor, 1) || fault_on("step", descriptor, 1)) return -1;
    return real(descriptor);
}

int open64(const char *path, int flags, ...) {
    REAL(open64);
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t);
    va_end(more);
    if ((flags & O_CREAT) && (fault("create", path, 1) || fault("step", path, 1))) return -1;
    return real(path, flags, mode);
}

int open(const char *path, int flags, ...) {
    REAL(open);
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t);
    va_end(more);
    if ((flags & O_CREAT) && (fault("create", path, 1) || fault("step", path, 1))) return -1;
    return real(path, flags, mode);
}
