/* SPDX-License-Identifier: Apache-2.0
 *
 * Alloc_fault: a library that is loaded before the program under test (LD_PRELOAD): makes its n-th
 * allocation fail, and counts what it holds, so that the program is the one that ships. What it is
 * to do, and what it did, is in a file that alloc_fault.py maps too: LK_ALLOC_FAULT=PATH.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);
void __libc_free(void *p);

struct control {
    _Atomic int64_t left;     /* allocations until one fails; 0 and less: none does */
    _Atomic int64_t all;      /* 1: and all after it */
    _Atomic int64_t struck;   /* how many failed */
    _Atomic int64_t held;     /* bytes */
    _Atomic int64_t n_allocs; /* that did not fail */
};
static struct control own, *control = &own;

__attribute__((constructor)) static void open_control(void)
{
    const char *path = getenv("LK_ALLOC_FAULT");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *p = fd < 0 ? MAP_FAILED
                     : mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
        abort();
    }
    close(fd);
    atomic_store(&((struct control *)p)->held, atomic_load(&own.held));
    control = p;
}

static bool fails(void)
{
    int64_t left = atomic_load(&control->left);
    if (left <= 0) {
        return false;
    }
    if (left == 1 && atomic_load(&control->all)) {
        atomic_fetch_add(&control->struck, 1);
        return true;
    }
    if (atomic_fetch_sub(&control->left, 1) != 1) {
        return false;
    }
    atomic_fetch_add(&control->struck, 1);
    return true;
}

static void *gained(void *p)
{
    if (p) {
        atomic_fetch_add(&control->held, (int64_t)malloc_usable_size(p));
        atomic_fetch_add(&control->n_allocs, 1);
    } else {
        errno = ENOMEM;
    }
    return p;
}

void *malloc(size_t n)
{
    return gained(fails() ? NULL : __libc_malloc(n));
}

void *calloc(size_t n, size_t size)
{
    return gained(fails() ? NULL : __libc_calloc(n, size));
}

void *realloc(void *p, size_t n)
{
    size_t old = p ? malloc_usable_size(p) : 0;
    void *moved = fails() ? NULL : __libc_realloc(p, n);
    if (moved) {
        atomic_fetch_sub(&control->held, (int64_t)old);
    }
    return gained(moved);
}

void *memalign(size_t align, size_t n)
{
    return gained(fails() ? NULL : __libc_memalign(align, n));
}

void *aligned_alloc(size_t align, size_t n)
{
    return memalign(align, n);
}

int posix_memalign(void **out, size_t align, size_t n)
{
    void *p = memalign(align, n);
    *out = p ? p : *out;
    return p ? 0 : ENOMEM;
}

void free(void *p)
{
    if (p) {
        atomic_fetch_sub(&control->held, (int64_t)malloc_usable_size(p));
    }
    __libc_free(p);
}
