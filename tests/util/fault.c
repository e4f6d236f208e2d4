/* SPDX-License-Identifier: Apache-2.0
 *
 * Fault: see fault.h. The linker sends calls of X to __wrap_X and calls of __real_X to X; any
 * thread may make them.
 */
#include "tests/util/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all below */

struct trap {
    size_t left; /* calls until it strikes; 0: never */
    bool on, open;
};

static struct trap alloc_trap, io_trap, thread_trap;
static bool struck_once;
static struct fault_held held;

static bool strikes(struct trap *trap)
{
    pthread_mutex_lock(&lock);
    bool does = trap->open || (trap->left > 0 && --trap->left == 0);
    if (does && !trap->open) {
        trap->open = trap->on;
        struck_once = true;
    }
    pthread_mutex_unlock(&lock);
    return does;
}

void fault_alloc(size_t nth, bool on)
{
    alloc_trap = (struct trap){nth, on, false};
    struck_once = false;
}

void fault_io(size_t nth, bool on)
{
    io_trap = (struct trap){nth, on, false};
    struck_once = false;
}

void fault_thread(size_t nth)
{
    thread_trap = (struct trap){nth, false, false};
    struck_once = false;
}

bool fault_struck(void)
{
    return struck_once;
}

struct fault_held fault_held(void)
{
    return held;
}

void fault_reset(void)
{
    fault_alloc(0, false);
    fault_io(0, false);
    fault_thread(0);
    held.peak_bytes = held.bytes;
}

/* ---- the heap -----------------------------------------------------------------------------------
 */

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
int __real_posix_memalign(void **p, size_t align, size_t n);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);
int __wrap_posix_memalign(void **p, size_t align, size_t n);
char *__wrap_strdup(const char *s);
void __wrap_free(void *p);

/* So many bytes of the heap were taken, and others given back. */
static void count(size_t taken, size_t given)
{
    pthread_mutex_lock(&lock);
    held.bytes += taken - given;
    if (held.bytes > held.peak_bytes) {
        held.peak_bytes = held.bytes;
    }
    pthread_mutex_unlock(&lock);
}

static void *gained(void *p)
{
    count(p ? malloc_usable_size(p) : 0, 0);
    return p;
}

void *__wrap_malloc(size_t n)
{
    return strikes(&alloc_trap) ? NULL : gained(__real_malloc(n));
}

void *__wrap_calloc(size_t n, size_t size)
{
    return strikes(&alloc_trap) ? NULL : gained(__real_calloc(n, size));
}

void *__wrap_realloc(void *p, size_t n)
{
    if (strikes(&alloc_trap)) {
        return NULL;
    }
    size_t old = p ? malloc_usable_size(p) : 0;
    void *moved = __real_realloc(p, n);
    if (moved) {
        count(malloc_usable_size(moved), old);
    }
    return moved;
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
    return strikes(&alloc_trap) ? NULL : gained(__real_aligned_alloc(align, n));
}

int __wrap_posix_memalign(void **p, size_t align, size_t n)
{
    if (strikes(&alloc_trap)) {
        return ENOMEM;
    }
    int e = __real_posix_memalign(p, align, n);
    if (!e) {
        gained(*p);
    }
    return e;
}

char *__wrap_strdup(const char *s)
{
    size_t n = strlen(s) + 1;
    char *p = __wrap_malloc(n);
    return p ? memcpy(p, s, n) : NULL;
}

void __wrap_free(void *p)
{
    count(0, p ? malloc_usable_size(p) : 0);
    __real_free(p);
}

/* ---- files
 * ---------------------------------------------------------------------------------------- */

int __real_open(const char *path, int flags, ...);
int __real_close(int fd);
int __real_fstat(int fd, struct stat *st);
void *__real_mmap(void *p, size_t n, int prot, int flags, int fd, off_t offset);
int __real_munmap(void *p, size_t n);
ssize_t __real_read(int fd, void *p, size_t n);
ssize_t __real_write(int fd, const void *p, size_t n);
int __real_fsync(int fd);
int __real_rename(const char *from, const char *to);
int __wrap_open(const char *path, int flags, ...);
int __wrap_close(int fd);
int __wrap_fstat(int fd, struct stat *st);
void *__wrap_mmap(void *p, size_t n, int prot, int flags, int fd, off_t offset);
int __wrap_munmap(void *p, size_t n);
ssize_t __wrap_read(int fd, void *p, size_t n);
ssize_t __wrap_write(int fd, const void *p, size_t n);
int __wrap_fsync(int fd);
int __wrap_rename(const char *from, const char *to);
int __real_linkat(int from_folder, const char *from, int folder, const char *to, int flags);
int __wrap_linkat(int from_folder, const char *from, int folder, const char *to, int flags);

static bool names_needed;

void fault_need_names(bool on)
{
    names_needed = on;
}

static void count_file(int fds, size_t mapped)
{
    pthread_mutex_lock(&lock);
    held.fds += fds;
    held.mapped += mapped;
    pthread_mutex_unlock(&lock);
}

static bool io_fails(void)
{
    if (strikes(&io_trap)) {
        errno = EIO;
        return true;
    }
    return false;
}

int __wrap_open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    if (names_needed && (flags & O_TMPFILE) == O_TMPFILE) {
        errno = EOPNOTSUPP;
        return -1;
    }
    int fd = io_fails() ? -1 : __real_open(path, flags, mode);
    count_file(fd >= 0, 0);
    return fd;
}

int __wrap_close(int fd)
{
    int e = __real_close(fd);
    count_file(-(e == 0), 0);
    return e;
}

int __wrap_fstat(int fd, struct stat *st)
{
    return io_fails() ? -1 : __real_fstat(fd, st);
}

/* munmap may give back a part of a mapping: bytes are counted, not mappings. */
static size_t pages_of(size_t n)
{
    return (n + 4095) / 4096 * 4096;
}

void *__wrap_mmap(void *p, size_t n, int prot, int flags, int fd, off_t offset)
{
    void *at = io_fails() ? MAP_FAILED : __real_mmap(p, n, prot, flags, fd, offset);
    count_file(0, at != MAP_FAILED ? pages_of(n) : 0);
    return at;
}

int __wrap_munmap(void *p, size_t n)
{
    int e = __real_munmap(p, n);
    count_file(0, e == 0 ? -pages_of(n) : 0);
    return e;
}

ssize_t __wrap_read(int fd, void *p, size_t n)
{
    return io_fails() ? -1 : __real_read(fd, p, n);
}

ssize_t __wrap_write(int fd, const void *p, size_t n)
{
    return io_fails() ? -1 : __real_write(fd, p, n);
}

int __wrap_fsync(int fd)
{
    return io_fails() ? -1 : __real_fsync(fd);
}

int __wrap_rename(const char *from, const char *to)
{
    return io_fails() ? -1 : __real_rename(from, to);
}

int __wrap_linkat(int from_folder, const char *from, int folder, const char *to, int flags)
{
    return io_fails() ? -1 : __real_linkat(from_folder, from, folder, to, flags);
}

/* ---- threads ---- */

typedef void *(*thread_fn)(void *);
int __real_pthread_create(pthread_t *id, const pthread_attr_t *attr, thread_fn fn, void *arg);
int __wrap_pthread_create(pthread_t *id, const pthread_attr_t *attr, thread_fn fn, void *arg);

int __wrap_pthread_create(pthread_t *id, const pthread_attr_t *attr, thread_fn fn, void *arg)
{
    return strikes(&thread_trap) ? EAGAIN : __real_pthread_create(id, attr, fn, arg);
}
