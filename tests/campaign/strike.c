/* Strikes one libc call that writes: the process dies there, the call fails, or writes only a part; or the clock jumps.

   Preloaded into the processes of a trial (fault_trials.py), which share the page that the file $CAMPAIGN_PAGE holds: what is to
   be struck, when, and what became of it. A process counts if it has a role; see `role_of`. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { KILL_BEFORE, KILL_AFTER, TORN_KILL, SHORT, FAIL, TORN_FAIL, INTERRUPT, TERMINATE, CLOCK };
enum { CLI, LAUNCHER, CONTROLLER, WORKER, STAGE };

/* The layout is repeated in fault_trials.py. */
struct page {
    int32_t armed;        /* 0: nothing is counted; 1: counted and struck; 2: also written to the census */
    int32_t role;         /* the role that is struck */
    int64_t countdown;    /* its call of this number is struck, the first is 1 */
    int32_t fault;        /* one of the enum above */
    int32_t error;        /* the errno of FAIL and TORN_FAIL */
    int64_t failures;     /* how many calls fail from then on, of whichever role */
    int64_t jump;         /* CLOCK: seconds that the clock of every role jumps */
    int64_t offset;       /* seconds that it has jumped */
    int32_t struck;
    int32_t padding;
    char folder[512];     /* only calls on files below it count */
    char census[512];     /* the file of the census */
    char call[1024];      /* the call that was struck, and its file */
};

static struct page *page;
static int role = -1;

static void map_page(void) {
    const char *path = getenv("CAMPAIGN_PAGE");
    int fd = path ? syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    page = mmap(0, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) page = 0;
    syscall(SYS_close, fd);
}

/* Called by a child of the fork server, which has no page, once it has the environment of its trial. */
void campaign_begin(int number) {
    map_page();
    role = number;
}

static void forked(void) {
    if (role == WORKER) role = STAGE;
}

static int role_of(const char *words, ssize_t size) {
    static const char *modules[] = {"cebctl.app", "jobs.local.launch", "submitit.local._local", "submitit.core._submit"};
    for (int number = 0; number < 4; number++)
        if (size > 0 && memmem(words, size, modules[number], strlen(modules[number]) + 1)) return number;
    return -1;
}

__attribute__((constructor)) static void begin(void) {
    map_page();
    char words[4096];
    int fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    role = role_of(words, syscall(SYS_read, fd, words, sizeof words));
    syscall(SYS_close, fd);
    pthread_atfork(0, 0, forked);
}

static int is_below(const char *path) {
    size_t length = strlen(page->folder);
    return !strncmp(path, page->folder, length) && path[length] == '/';
}

/* Write the path of a file, open or named, into `text`; return whether its calls count. */
static int names(char *text, size_t size, int folder, const char *path) {
    char link[64];
    text[0] = 0;
    if (path && path[0] == '/') {
        snprintf(text, size, "%s", path);
        return is_below(text);
    }
    if (folder == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
    else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t length = syscall(SYS_readlink, link, text, size - 1);
    if (length < 0) return 0;
    snprintf(text + length, size - length, "%s%s", path ? "/" : "", path ? path : "");
    return is_below(text);
}

static int can_fail(const char *call, int error) {
    if (error != ENOSPC) return 1;
    static const char *growing[] = {"write", "pwrite", "writev", "open", "mkdir", "link", "symlink", "rename", "fallocate"};
    for (size_t i = 0; i < sizeof growing / sizeof *growing; i++)
        if (!strcmp(call, growing[i])) return 1;
    return 0;
}

__attribute__((noreturn)) static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Count a call; return the fault that strikes it, or -1. */
static int strike(const char *call, int folder, const char *path) {
    char text[900];
    int saved = errno;
    if (!page || !page->armed || role < 0 || !names(text, sizeof text, folder, path)) {
        errno = saved;
        return -1;
    }
    errno = saved;
    if (page->armed == 2) {
        char line[1000];
        int length = snprintf(line, sizeof line, "%d\t%s\t%s\n", role, call, text);
        int fd = syscall(SYS_openat, AT_FDCWD, page->census, O_WRONLY | O_APPEND | O_CREAT, 0600);
        syscall(SYS_write, fd, line, length);
        syscall(SYS_close, fd);
        return -1;
    }
    if (!page->struck) {
        if (role != page->role || __atomic_sub_fetch(&page->countdown, 1, __ATOMIC_SEQ_CST) != 0) return -1;
        page->struck = 1;
        snprintf(page->call, sizeof page->call, "%s\t%s", call, text);
    } else if (page->fault != FAIL || !can_fail(call, page->error)) {
        return -1;
    }
    switch (page->fault) {
    case CLOCK:
        page->offset = page->jump;
        return -1;
    case INTERRUPT:
        kill(getpid(), SIGINT);
        return -1;
    case TERMINATE:
        kill(getpid(), SIGTERM);
        return -1;
    case FAIL:
        return __atomic_sub_fetch(&page->failures, 1, __ATOMIC_SEQ_CST) < 0 ? -1 : FAIL;
    case KILL_BEFORE:
        die();
    }
    return page->fault;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* A call that does all or nothing. */
#define STRUCK(call, folder, path, done)                                                                               \
    switch (strike(call, folder, path)) {                                                                              \
    case FAIL:                                                                                                         \
    case TORN_FAIL:                                                                                                    \
        errno = page->error;                                                                                           \
        return -1;                                                                                                     \
    case KILL_AFTER:                                                                                                   \
    case TORN_KILL:                                                                                                    \
        (void)!(done);                                                                                                 \
        die();                                                                                                         \
    }                                                                                                                  \
    return done;

/* A call that writes `size` bytes, or the half of them by `half`. */
#define STRUCK_WRITE(call, fd, size, done, half)                                                                       \
    switch (strike(call, fd, 0)) {                                                                                     \
    case FAIL:                                                                                                         \
        errno = page->error;                                                                                           \
        return -1;                                                                                                     \
    case KILL_AFTER:                                                                                                   \
        (void)!(done);                                                                                                 \
        die();                                                                                                         \
    case TORN_KILL:                                                                                                    \
        (void)!(half);                                                                                                 \
        die();                                                                                                         \
    case SHORT:                                                                                                        \
        if ((size) > 1) return half;                                                                                   \
        break;                                                                                                         \
    case TORN_FAIL:                                                                                                    \
        (void)!(half);                                                                                                 \
        errno = page->error;                                                                                           \
        return -1;                                                                                                     \
    }                                                                                                                  \
    return done;

ssize_t write(int fd, const void *data, size_t size) {
    STRUCK_WRITE("write", fd, size, NEXT(write)(fd, data, size), NEXT(write)(fd, data, size / 2))
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    STRUCK_WRITE("pwrite", fd, size, NEXT(pwrite)(fd, data, size, at), NEXT(pwrite)(fd, data, size / 2, at))
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    STRUCK_WRITE("pwrite", fd, size, NEXT(pwrite64)(fd, data, size, at), NEXT(pwrite64)(fd, data, size / 2, at))
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    STRUCK_WRITE("writev", fd, count, NEXT(writev)(fd, parts, count), NEXT(writev)(fd, parts, count / 2))
}
ssize_t sendfile64(int out, int in, off64_t *at, size_t size) {
    STRUCK_WRITE("write", out, size, NEXT(sendfile64)(out, in, at, size), NEXT(sendfile64)(out, in, at, size / 2))
}
int fsync(int fd) { STRUCK("fsync", fd, 0, NEXT(fsync)(fd)) }
int fdatasync(int fd) { STRUCK("fdatasync", fd, 0, NEXT(fdatasync)(fd)) }
int ftruncate(int fd, off_t size) { STRUCK("ftruncate", fd, 0, NEXT(ftruncate)(fd, size)) }
int ftruncate64(int fd, off64_t size) { STRUCK("ftruncate", fd, 0, NEXT(ftruncate64)(fd, size)) }
int fallocate64(int fd, int mode, off64_t at, off64_t size) {
    STRUCK("fallocate", fd, 0, NEXT(fallocate64)(fd, mode, at, size))
}
int rename(const char *old, const char *new) { STRUCK("rename", AT_FDCWD, new, NEXT(rename)(old, new)) }
int renameat(int a, const char *old, int b, const char *new) {
    STRUCK("rename", b, new, NEXT(renameat)(a, old, b, new))
}
int link(const char *old, const char *new) { STRUCK("link", AT_FDCWD, new, NEXT(link)(old, new)) }
int linkat(int a, const char *old, int b, const char *new, int flags) {
    STRUCK("link", b, new, NEXT(linkat)(a, old, b, new, flags))
}
int symlink(const char *old, const char *new) { STRUCK("symlink", AT_FDCWD, new, NEXT(symlink)(old, new)) }
int unlink(const char *path) { STRUCK("unlink", AT_FDCWD, path, NEXT(unlink)(path)) }
int unlinkat(int folder, const char *path, int flags) { STRUCK("unlink", folder, path, NEXT(unlinkat)(folder, path, flags)) }
int rmdir(const char *path) { STRUCK("rmdir", AT_FDCWD, path, NEXT(rmdir)(path)) }
int mkdir(const char *path, mode_t mode) { STRUCK("mkdir", AT_FDCWD, path, NEXT(mkdir)(path, mode)) }
int mkdirat(int folder, const char *path, mode_t mode) { STRUCK("mkdir", folder, path, NEXT(mkdirat)(folder, path, mode)) }
int chmod(const char *path, mode_t mode) { STRUCK("chmod", AT_FDCWD, path, NEXT(chmod)(path, mode)) }
int fchmod(int fd, mode_t mode) { STRUCK("chmod", fd, 0, NEXT(fchmod)(fd, mode)) }

#define MODE(flags)                                                                                                    \
    mode_t mode = 0;                                                                                                   \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {                                                                           \
        va_list arguments;                                                                                             \
        va_start(arguments, flags);                                                                                    \
        mode = va_arg(arguments, mode_t);                                                                              \
        va_end(arguments);                                                                                             \
    }
#define CREATES(flags, folder, path, done)                                                                             \
    if ((flags) & (O_CREAT | O_TRUNC)) {                                                                               \
        STRUCK("open", folder, path, done)                                                                             \
    }                                                                                                                  \
    return done;

int open(const char *path, int flags, ...) {
    MODE(flags)
    CREATES(flags, AT_FDCWD, path, NEXT(open)(path, flags, mode))
}
int open64(const char *path, int flags, ...) {
    MODE(flags)
    CREATES(flags, AT_FDCWD, path, NEXT(open64)(path, flags, mode))
}
int openat(int folder, const char *path, int flags, ...) {
    MODE(flags)
    CREATES(flags, folder, path, NEXT(openat)(folder, path, flags, mode))
}
int openat64(int folder, const char *path, int flags, ...) {
    MODE(flags)
    CREATES(flags, folder, path, NEXT(openat64)(folder, path, flags, mode))
}

static int64_t jumped(void) { return page && role >= 0 ? page->offset : 0; }

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = NEXT(clock_gettime)(clock, now);
    if (clock == CLOCK_REALTIME && !result) now->tv_sec += jumped();
    return result;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int result = NEXT(gettimeofday)(now, zone);
    if (!result) now->tv_sec += jumped();
    return result;
}
time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
