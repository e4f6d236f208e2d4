/* SPDX-License-Identifier: Apache-2.0
 *
 * Mem: aligned allocation and an arena planned before use. All heap memory of src/ and cpu/ comes
 * from here, so that a test can fail any allocation (tests wrap malloc and friends at link time).
 */
#ifndef LK_MEM_H
#define LK_MEM_H

#include <stddef.h>
#include <stdint.h>

#include "base/base.h"

/* Zeroed memory aligned to 64 bytes; NULL when there is none. lk_free takes NULL. */
void *lk_alloc(size_t n_bytes);
void *lk_alloc_array(size_t n, size_t size); /* NULL also when n * size overflows */
void lk_free(void *p);
/* Grows (never shrinks) *p, an lk_alloc'd array of *cap elements, to at least `need`; amortized
 * doubling; new elements are zero. On failure nothing changed. */
lk_status lk_grow(void *p, size_t *cap, size_t need, size_t size, lk_error *err);

/* Arena: reserve pieces by name, commit once, then look the addresses up. Between pieces lie red
 * zones of 64 bytes with a known pattern; lk_arena_check finds a piece that was overrun. */
#define LK_ARENA_MAX_PIECES 64
struct lk_arena {
    uint8_t *base;
    size_t n_bytes; /* the whole block */
    int n_pieces;
    struct {
        const char *name; /* static string */
        size_t offset, n_bytes;
    } piece[LK_ARENA_MAX_PIECES];
};
/* Returns the piece's index, or -1 when there is no room for another or the size overflows. */
int lk_arena_reserve(struct lk_arena *arena, const char *name, size_t n_bytes);
lk_status lk_arena_commit(struct lk_arena *arena, lk_error *err);
void *lk_arena_at(const struct lk_arena *arena, int piece); /* aligned to 64 bytes */
lk_status lk_arena_check(const struct lk_arena *arena, lk_error *err);
void lk_arena_free(struct lk_arena *arena); /* back to all zero */

#endif
