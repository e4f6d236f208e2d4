/* SPDX-License-Identifier: Apache-2.0
 *
 * Region: see region.h. Blocks are a list, the newest first, and a piece is never behind a newer
 * one, so that going back to a mark is to drop blocks and to lower one number.
 */
#include "text/value/region.h"

#include <string.h>

#include "base/mem.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n)   ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

enum { FIRST_BLOCK = 4096, LARGEST_BLOCK = 1 << 18, PIECE = 16 };

struct lk_region_block {
    struct lk_region_block *before;
    size_t used, cap; /* of what follows the header */
};

enum { HEADER = (sizeof(struct lk_region_block) + PIECE - 1) / PIECE * PIECE };

static char *bytes_of(struct lk_region_block *b)
{
    return (char *)b + HEADER;
}

size_t lk_region_room(const struct lk_region *region)
{
    size_t taken = region->n_bytes + region->outside;
    return !region->max_bytes          ? SIZE_MAX
           : region->max_bytes > taken ? region->max_bytes - taken
                                       : 0;
}

/* A block with room for n: as large as all before it together within bounds, for then their number
 * grows with the logarithm; smaller where the limit is near. */
static struct lk_region_block *add_block(struct lk_region *region, size_t n)
{
    size_t cap = region->n_bytes < FIRST_BLOCK     ? FIRST_BLOCK
                 : region->n_bytes > LARGEST_BLOCK ? LARGEST_BLOCK
                                                   : region->n_bytes;
    if (n > cap / 2) {
        cap = n + cap / 4; /* what comes next finds room behind a large piece */
    }
    if (cap > lk_region_room(region)) {
        cap = n;
    }
    region->at_limit = cap < n || cap > lk_region_room(region);
    if (region->at_limit || cap > SIZE_MAX - HEADER) {
        return NULL;
    }
    struct lk_region_block *b = region->spare;
    if (b && b->cap >= n && b->cap <= lk_region_room(region)) {
        region->spare = NULL;
    } else if ((b = lk_alloc(HEADER + cap)) != NULL) {
        b->cap = cap;
        ASAN_POISON_MEMORY_REGION(bytes_of(b), cap);
    }
    if (b) {
        b->used = 0;
        b->before = region->last;
        region->last = b;
        region->n_bytes += b->cap;
    }
    return b;
}

void *lk_region_alloc(struct lk_region *region, size_t n_bytes)
{
    if (n_bytes > SIZE_MAX - PIECE) {
        return NULL;
    }
    size_t n = lk_round_up(n_bytes ? n_bytes : 1, PIECE);
    struct lk_region_block *b = region->last;
    if (!b || b->cap - b->used < n) {
        b = add_block(region, n);
    }
    if (!b) {
        return NULL;
    }
    char *p = bytes_of(b) + b->used;
    b->used += n;
    ASAN_UNPOISON_MEMORY_REGION(p, n_bytes ? n_bytes : 1);
    return p;
}

void *lk_region_array(struct lk_region *region, size_t n, size_t size)
{
    size_t bytes;
    return lk_mul_size(n, size, &bytes) ? lk_region_alloc(region, bytes) : NULL;
}

char *lk_region_copy(struct lk_region *region, const void *bytes, size_t n)
{
    char *p = n < SIZE_MAX ? lk_region_alloc(region, n + 1) : NULL;
    if (p) {
        if (n) {
            memcpy(p, bytes, n);
        }
        p[n] = 0;
    }
    return p;
}

lk_status lk_region_fail(const struct lk_region *region, const char *what, lk_error *err)
{
    if (region->at_limit) {
        return lk_fail(err, LK_E_NOMEM, "%s: needs more memory than its %zu bytes", what,
                       region->max_bytes);
    }
    return lk_fail(err, LK_E_NOMEM, "%s: out of memory", what);
}

struct lk_region_mark lk_region_mark(const struct lk_region *region)
{
    return (struct lk_region_mark){region->last, region->last ? region->last->used : 0};
}

static void free_block(struct lk_region_block *b)
{
    if (b) {
        ASAN_UNPOISON_MEMORY_REGION(bytes_of(b), b->cap);
        lk_free(b);
    }
}

/* The newest block becomes the spare one, if it is no giant: loops go back to the same mark. */
static void drop(struct lk_region *region)
{
    struct lk_region_block *b = region->last;
    region->last = b->before;
    region->n_bytes -= b->cap;
    if (b->cap > 2 * LARGEST_BLOCK) {
        free_block(b);
        return;
    }
    ASAN_POISON_MEMORY_REGION(bytes_of(b), b->cap);
    free_block(region->spare);
    region->spare = b;
}

void lk_region_release(struct lk_region *region, struct lk_region_mark mark)
{
    while (region->last != mark.block) {
        drop(region);
    }
    if (region->last) {
        ASAN_POISON_MEMORY_REGION(bytes_of(region->last) + mark.used,
                                  region->last->used - mark.used);
        region->last->used = mark.used;
    }
}

static bool within(struct lk_region_block *b, size_t from, const void *p)
{
    uintptr_t at = (uintptr_t)p, begin = (uintptr_t)bytes_of(b);
    return at >= begin + from && at < begin + b->used;
}

bool lk_region_since(const struct lk_region *region, struct lk_region_mark mark, const void *p)
{
    struct lk_region_block *b = region->last;
    for (; b && b != mark.block; b = b->before) {
        if (within(b, 0, p)) {
            return true;
        }
    }
    return b && within(b, mark.used, p);
}

void lk_region_free(struct lk_region *region)
{
    while (region->last) {
        drop(region);
    }
    free_block(region->spare);
    region->spare = NULL;
}
