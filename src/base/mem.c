/* SPDX-License-Identifier: Apache-2.0
 *
 * Mem: see mem.h.
 */
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#include "base/os.h"

enum { ALIGN = 64, RED_ZONE = 64, RED_BYTE = 0xA7 };

void *lk_alloc(size_t n_bytes)
{
    if (n_bytes > SIZE_MAX - ALIGN) {
        return NULL;
    }
    size_t n = lk_round_up(n_bytes ? n_bytes : 1, ALIGN);
    void *p = aligned_alloc(ALIGN, n);
    if (p) {
        memset(p, 0, n);
    }
    return p;
}

void *lk_alloc_array(size_t n, size_t size)
{
    size_t bytes;
    return lk_mul_size(n, size, &bytes) ? lk_alloc(bytes) : NULL;
}

void lk_free(void *p)
{
    free(p);
}

lk_status lk_grow(void *p, size_t *cap, size_t need, size_t size, lk_error *err)
{
    if (need <= *cap) {
        return LK_OK;
    }
    size_t to = *cap > SIZE_MAX / 2 ? need : *cap * 2;
    if (to < need) {
        to = need;
    }
    if (to < 16) {
        to = 16;
    }
    void *grown = lk_alloc_array(to, size);
    if (!grown) {
        return lk_fail(err, LK_E_NOMEM, "out of memory growing an array to %zu elements", to);
    }
    void *old;
    memcpy(&old, p, sizeof old);
    if (old) {
        memcpy(grown, old, *cap * size);
    }
    lk_free(old);
    memcpy(p, &grown, sizeof grown);
    *cap = to;
    return LK_OK;
}

int lk_arena_reserve(struct lk_arena *arena, const char *name, size_t n_bytes)
{
    if (arena->base || arena->n_pieces == LK_ARENA_MAX_PIECES) {
        return -1;
    }
    size_t start = arena->n_pieces ? arena->n_bytes : RED_ZONE;
    size_t end;
    if (!lk_add_size(start, n_bytes, &end) || end > SIZE_MAX - ALIGN - RED_ZONE) {
        return -1;
    }
    int i = arena->n_pieces++;
    arena->piece[i].name = name;
    arena->piece[i].offset = start;
    arena->piece[i].n_bytes = n_bytes;
    arena->n_bytes = lk_round_up(end, ALIGN) + RED_ZONE;
    return i;
}

/* The bytes from the end of piece i to the start of the next: padding and red zone. */
static uint8_t *zone_of(const struct lk_arena *arena, int i, size_t *n)
{
    size_t from = arena->piece[i].offset + arena->piece[i].n_bytes;
    size_t to = i + 1 < arena->n_pieces ? arena->piece[i + 1].offset : arena->n_bytes;
    *n = to - from;
    return arena->base + from;
}

lk_status lk_arena_commit(struct lk_arena *arena, lk_error *err)
{
    arena->base = lk_pages_alloc(arena->n_bytes); /* a page counts once it is written */
    if (!arena->base) {
        return lk_fail(err, LK_E_NOMEM, "out of memory: a work area of %zu bytes", arena->n_bytes);
    }
    if (arena->n_pieces) {
        memset(arena->base, RED_BYTE, RED_ZONE);
    }
    for (int i = 0; i < arena->n_pieces; i++) {
        size_t n;
        uint8_t *zone = zone_of(arena, i, &n);
        memset(zone, RED_BYTE, n);
    }
    return LK_OK;
}

void *lk_arena_at(const struct lk_arena *arena, int piece)
{
    return arena->base + arena->piece[piece].offset;
}

lk_status lk_arena_check(const struct lk_arena *arena, lk_error *err)
{
    if (!arena->base || !arena->n_pieces) {
        return LK_OK;
    }
    for (size_t k = 0; k < RED_ZONE; k++) {
        if (arena->base[k] != RED_BYTE) {
            return lk_fail(err, LK_E_INTERNAL, "work area: write before piece '%s'",
                           arena->piece[0].name);
        }
    }
    for (int i = 0; i < arena->n_pieces; i++) {
        size_t n;
        const uint8_t *zone = zone_of(arena, i, &n);
        for (size_t k = 0; k < n; k++) {
            if (zone[k] != RED_BYTE) {
                return lk_fail(err, LK_E_INTERNAL,
                               "work area: write past the end of piece '%s' (%zu bytes), byte +%zu",
                               arena->piece[i].name, arena->piece[i].n_bytes, k);
            }
        }
    }
    return LK_OK;
}

void lk_arena_free(struct lk_arena *arena)
{
    if (arena->base) {
        lk_pages_free(arena->base, arena->n_bytes);
    }
    *arena = (struct lk_arena){0};
}
