/* SPDX-License-Identifier: Apache-2.0
 *
 * Tok_heap: which pair is merged next: a heap of keys, the least first. A key is a rank and then a
 * place, so equal ranks go from left to right. Owns no memory.
 */
#ifndef LK_TOK_HEAP_H
#define LK_TOK_HEAP_H

#include "base/base.h"

#define LK_TOK_NO_RANK   UINT32_MAX
#define LK_TOK_MAX_PLACE ((size_t)1 << 40) /* 24 bits are left for the rank */

struct lk_tok_heap {
    uint64_t *key; /* four children a node: keys 4i + 1 to 4i + 4 */
    size_t n, cap;
};

static inline uint64_t lk_tok_key(uint32_t rank, size_t place)
{
    return (uint64_t)rank << 40 | place;
}

static inline uint32_t lk_tok_key_rank(uint64_t key)
{
    return (uint32_t)(key >> 40);
}

static inline size_t lk_tok_key_place(uint64_t key)
{
    return (size_t)(key & (LK_TOK_MAX_PLACE - 1));
}

/* There must be room: n < cap. */
static inline void lk_tok_heap_push(struct lk_tok_heap *h, uint64_t key)
{
    size_t i = h->n++;
    for (size_t up; i > 0 && key < h->key[up = (i - 1) / 4]; i = up) {
        h->key[i] = h->key[up];
    }
    h->key[i] = key;
}

/* Takes the least key out; n > 0. */
static inline uint64_t lk_tok_heap_pop(struct lk_tok_heap *h)
{
    uint64_t top = h->key[0], last = h->key[--h->n];
    size_t i = 0;
    for (size_t child; (child = 4 * i + 1) < h->n;) {
        size_t end = child + 4 < h->n ? child + 4 : h->n, least = child;
        while (++child < end) {
            least = h->key[child] < h->key[least] ? child : least;
        }
        if (h->key[least] >= last) {
            break;
        }
        h->key[i] = h->key[least];
        i = least;
    }
    h->key[i] = last;
    return top;
}

#endif
