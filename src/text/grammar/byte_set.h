/* SPDX-License-Identifier: Apache-2.0
 *
 * Byte_set: sets of byte values, 256 bits.
 */
#ifndef LK_BYTE_SET_H
#define LK_BYTE_SET_H

#include "base/base.h"

struct lk_byte_set {
    uint64_t word[4];
};

static inline bool lk_byte_set_has(const struct lk_byte_set *s, unsigned byte)
{
    return s->word[byte >> 6] >> (byte & 63) & 1;
}

static inline void lk_byte_set_add(struct lk_byte_set *s, unsigned byte)
{
    s->word[byte >> 6] |= (uint64_t)1 << (byte & 63);
}

static inline void lk_byte_set_add_range(struct lk_byte_set *s, unsigned first, unsigned last)
{
    for (unsigned b = first; b <= last; b++) {
        lk_byte_set_add(s, b);
    }
}

static inline struct lk_byte_set lk_byte_set_or(struct lk_byte_set a, const struct lk_byte_set *b)
{
    for (int i = 0; i < 4; i++) {
        a.word[i] |= b->word[i];
    }
    return a;
}

static inline struct lk_byte_set lk_byte_set_and(struct lk_byte_set a, const struct lk_byte_set *b)
{
    for (int i = 0; i < 4; i++) {
        a.word[i] &= b->word[i];
    }
    return a;
}

static inline bool lk_byte_set_is_empty(const struct lk_byte_set *s)
{
    return !(s->word[0] | s->word[1] | s->word[2] | s->word[3]);
}

static inline bool lk_byte_set_is_full(const struct lk_byte_set *s)
{
    return (s->word[0] & s->word[1] & s->word[2] & s->word[3]) == UINT64_MAX;
}

#endif
