/* A library to be preloaded: lets one kind of system call fail, hang or kill the process, for files whose path matches.

   FAULT_CALL   write, read, fsync, rename, list, create, remove: also rename, or step: whatever changes a directory, and
                fsync
   FAULT_MATCH  a part of the path
   FAULT_AFTER  so many calls (for write: bytes) go well
   FAULT_ERROR  then fails with this errno,
   FAULT_SLEEP  or hangs for so many seconds whatever signals come, as calls to a disk that does not answer do,
   FAULT_NEXT   or waits until another such call begins, and fails if none does so within so many seconds,
   FAULT_KILL   or kills the process
   FAULT_CRASH  or crashes, as native code does; only once, since a crash of a second thread would end the process before
                the traceback of the first one is written
   FAULT_SHORT  or writes only half of what it is given
   FAULT_ONCE   and then no more
   FAULT_RATE   for read: so many bytes come a second, one call after the other
   FAULT_MARK   a file that is made when it begins
   FAULT_NFS    a part of the paths of files to which is appended as clients of NFS do: they find the end, and write there
                a little later
   FAULT_LOG    a file that gets a line for each call: call, path, and for a renaming the new path, with tabs between */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
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

static atomic_long passed, begun;
static atomic_int broken;
static atomic_flag crashed = ATOMIC_FLAG_INIT;

static int fault(const char *call, const char *path, long amount) {
    const char *wanted = getenv("FAULT_CALL"), *match = getenv("FAULT_MATCH"), *after = getenv("FAULT_AFTER");
    if (!wanted || strcmp(wanted, call) || !path || (match && !strstr(path, match))) return 0;
    long last = atomic_fetch_add(&begun, 1) + 1;
    if (!broken && atomic_fetch_add(&passed, amount) + amount <= (after ? atol(after) : 0)) return 0;
    if (broken && getenv("FAULT_ONCE")) return 0;
    broken = 1;
    const char *mark = getenv("FAULT_MARK"), *sleep = getenv("FAULT_SLEEP"), *error = getenv("FAULT_ERROR");
    const char *next = getenv("FAULT_NEXT");
    if (mark) syscall(SYS_close, syscall(SYS_openat, AT_FDCWD, mark, O_CREAT | O_WRONLY, 0666));
    if (getenv("FAULT_KILL")) kill(getpid(), SIGKILL);
    if (getenv("FAULT_CRASH") && !atomic_flag_test_and_set(&crashed)) raise(SIGSEGV);
    if (sleep) {
        struct timespec left = {atol(sleep), fmod(atof(sleep), 1) * 1e9};
        while (nanosleep(&left, &left) && errno == EINTR) {}
    }
    for (long left = next ? 1000 * atol(next) : 0; left && begun == last; left--) {
        struct timespec millisecond = {0, 1000000};
        nanosleep(&millisecond, NULL);
        if (left == 1) error = "5";
    }
    if (!error) return 0;
    errno = atoi(error);
    return 1;
}

static const char *path_of(int descriptor, char path[4096]) {
    char link[64];
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, 4095);
    errno = before;
    if (length < 0) return NULL;
    path[length] = 0;
    return path;
}

static int fault_on(const char *call, int descriptor, long amount) {
    char path[4096];
    return fault(call, path_of(descriptor, path), amount);
}

static int matches(int descriptor) {
    const char *match = getenv("FAULT_MATCH");
    char path[4096];
    return path_of(descriptor, path) && (!match || strstr(path, match));
}

/* Whether reading takes time, so that nothing is there at once. */
static int is_slow(int descriptor) {
    const char *call = getenv("FAULT_CALL");
    if (!call || strcmp(call, "read") || !matches(descriptor)) return 0;
    return getenv("FAULT_SLEEP") || getenv("FAULT_NEXT") || getenv("FAULT_RATE");
}

/* A disk that gives so many bytes a second to all who read. */
static void take_time(int descriptor, ssize_t bytes) {
    static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
    static struct timespec free_at;
    const char *rate = getenv("FAULT_RATE");
    if (!rate || bytes <= 0 || !is_slow(descriptor)) return;
    struct timespec now, until;
    clock_gettime(CLOCK_MONOTONIC, &now);
    pthread_mutex_lock(&one);
    if (now.tv_sec > free_at.tv_sec || (now.tv_sec == free_at.tv_sec && now.tv_nsec > free_at.tv_nsec)) free_at = now;
    long nanoseconds = free_at.tv_nsec + bytes / atof(rate) * 1e9;
    free_at.tv_sec += nanoseconds / 1000000000;
    free_at.tv_nsec = nanoseconds % 1000000000;
    until = free_at;
    pthread_mutex_unlock(&one);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {}
}

static void note(const char *call, const char *path, const char *to) {
    const char *log = getenv("FAULT_LOG");
    if (!log || !path) return;
    char line[9000];
    int length = snprintf(line, sizeof line, "%s\t%s\t%s\n", call, path, to), before = errno;
    long file = syscall(SYS_openat, AT_FDCWD, log, O_CREAT | O_WRONLY | O_APPEND, 0666);
    syscall(SYS_write, file, line, length);
    syscall(SYS_close, file);
    errno = before;
}

static void note_on(const char *call, int descriptor) {
    char path[4096];
    if (getenv("FAULT_LOG")) note(call, path_of(descriptor, path), "");
}

static ssize_t append_as_nfs_does(int descriptor, const void *data, size_t size) {
    int flags = fcntl(descriptor, F_GETFL);
    off_t end = lseek(descriptor, 0, SEEK_END);
    struct timespec later = {0, 2000000};
    nanosleep(&later, NULL);
    fcntl(descriptor, F_SETFL, flags & ~O_APPEND);
    ssize_t written = pwrite(descriptor, data, size, end);
    fcntl(descriptor, F_SETFL, flags);
    return written;
}

static int is_appended_to_over_nfs(int descriptor) {
    char path[4096];
    const char *match = getenv("FAULT_NFS");
    return match && (fcntl(descriptor, F_GETFL) & O_APPEND) && path_of(descriptor, path) && strstr(path, match);
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define ON_DESCRIPTOR(call, amount, type, name, parameters, arguments) \
    type name parameters { REAL(name); if (fault_on(call, descriptor, amount)) return -1; return real arguments; }
#define READING(name, parameters, flags, arguments) \
    ssize_t name parameters { REAL(name); \
        if ((flags & RWF_NOWAIT) && is_slow(descriptor)) { errno = EAGAIN; return -1; } \
        if (fault_on("read", descriptor, 1)) return -1; \
        ssize_t done = real arguments; \
        take_time(descriptor, done); \
        return done; }
#define ON_PATH(call, type, failed, name, parameters, arguments) \
    type name parameters { REAL(name); \
        if (fault(call, path, 1) || fault("step", path, 1)) return failed; \
        note(#name, path, ""); \
        return real arguments; }
#define WRITING(name, parameters, arguments) \
    ssize_t name parameters { REAL(name); if (fault_on("write", descriptor, size)) return -1; \
        if (broken && size > 1 && getenv("FAULT_SHORT")) size /= 2; \
        note_on("write", descriptor); \
        if (is_appended_to_over_nfs(descriptor)) return append_as_nfs_does(descriptor, data, size); \
        return real arguments; }

WRITING(write, (int descriptor, const void *data, size_t size), (descriptor, data, size))
WRITING(pwrite64, (int descriptor, const void *data, size_t size, off64_t offset), (descriptor, data, size, offset))
READING(read, (int descriptor, void *data, size_t size), 0, (descriptor, data, size))
READING(pread64, (int descriptor, void *data, size_t size, off64_t offset), 0, (descriptor, data, size, offset))
READING(preadv64, (int descriptor, const struct iovec *parts, int count, off64_t offset), 0,
        (descriptor, parts, count, offset))
READING(preadv64v2, (int descriptor, const struct iovec *parts, int count, off64_t offset, int flags), flags,
        (descriptor, parts, count, offset, flags))
ON_PATH("mkdir", int, -1, mkdir, (const char *path, mode_t mode), (path, mode))
ON_PATH("list", DIR *, NULL, opendir, (const char *path), (path))
ON_PATH("remove", int, -1, unlink, (const char *path), (path))
ON_PATH("remove", int, -1, rmdir, (const char *path), (path))

int rename(const char *path, const char *to) {
    REAL(rename);
    if (fault("rename", path, 1) || fault("remove", path, 1) || fault("step", path, 1)) return -1;
    note("rename", path, to);
    return real(path, to);
}

int fsync(int descriptor) {
    REAL(fsync);
    if (fault_on("fsync", descriptor, 1) || fault_on("step", descriptor, 1)) return -1;
    int result = real(descriptor);
    if (!result) note_on("fsync", descriptor);
    return result;
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
