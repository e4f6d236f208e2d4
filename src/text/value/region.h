/* SPDX-License-Identifier: Apache-2.0
 *
 * Region: memory that is taken piece by piece and given back all at once, or back to a mark, with a
 * limit of bytes. Owns blocks of mem.h; knows nothing of what lies in it.
 */
#ifndef LK_REGION_H
#define LK_REGION_H

#include "base/base.h"

struct lk_region_block;

/* All zero but for max_bytes: an empty region. */
struct lk_region {
    struct lk_region_block *last;  /* the newest block; NULL: none */
    struct lk_region_block *spare; /* one that was given back, kept for the next need; or NULL */
    size_t n_bytes;                /* of all blocks but the spare one */
    size_t outside;                /* bytes that others hold on its account */
    size_t max_bytes;              /* that all of it may be together; 0: no limit */
    bool at_limit;                 /* the last refusal came from max_bytes */
};

struct lk_region_mark {
    struct lk_region_block *block;
    size_t used;
};

/* n_bytes of memory aligned to 16, with any content; NULL when the limit or the system's memory
 * ends, which lk_region_fail tells apart. */
void *lk_region_alloc(struct lk_region *region, size_t n_bytes);
void *lk_region_array(struct lk_region *region, size_t n, size_t size); /* NULL also on overflow */
/* A copy of n bytes with a 0 behind it. */
char *lk_region_copy(struct lk_region *region, const void *bytes, size_t n);
/* LK_E_NOMEM with "WHAT: out of memory" or "WHAT: needs more than its N bytes". */
lk_status lk_region_fail(const struct lk_region *region, const char *what, lk_error *err);

/* Bytes that the limit leaves; SIZE_MAX without one. */
size_t lk_region_room(const struct lk_region *region);

struct lk_region_mark lk_region_mark(const struct lk_region *region);
/* Gives back what was taken after the mark. */
void lk_region_release(struct lk_region *region, struct lk_region_mark mark);
/* Whether p points into memory that was taken after the mark. */
bool lk_region_since(const struct lk_region *region, struct lk_region_mark mark, const void *p);
void lk_region_free(struct lk_region *region); /* back to empty; the limit stays */

#endif
