/* SPDX-License-Identifier: Apache-2.0
 *
 * Cells: fills whole units of states, with numbers that a store could have written or with
 * what nobody wrote; the same bytes for the same seed.
 */
#ifndef LK_TEST_CELLS_H
#define LK_TEST_CELLS_H

#include "base/numerics.h"
#include "plan/state.h"
#include "tests/util/rng.h"

/* A word of four upper parts of keys, each within what LK_Q_MOST leaves of 8 bits. */
static inline uint32_t cells_high(uint32_t u)
{
    uint32_t word = 0;
    for (int c = 0; c < 4; c++) {
        int high = (int)(u >> 8 * c & 0xff) % (2 * (LK_Q_MOST / 16) + 1) - LK_Q_MOST / 16;
        word |= (uint32_t)(high & 0xff) << 8 * c;
    }
    return word;
}

/* n_bytes of whole units: any integers that fit, scales so that numbers stay below 4, some scales
 * zero. Pads are no zeros. */
static inline void cells_random(const struct lk_state *s, void *units, size_t n_bytes,
                                uint64_t seed)
{
    struct rng rng = {seed};
    uint32_t *word = (uint32_t *)units;
    if (!lk_state_is_paged(s)) {
        for (size_t i = 0; i < n_bytes / sizeof *word; i++) {
            word[i] = lk_bits((float)(int32_t)rng_u32(&rng) * 0x1p-31f);
        }
        return;
    }
    size_t head = lk_state_unit_bytes(s) / sizeof *word / (size_t)s->n_head;
    size_t keys = s->bits == LK_KV_K_BITS ? (size_t)s->dim * LK_KV_BLOCK / 4 : 0;
    int least = s->bits == LK_KV_K_BITS ? 127 - 9 : 127 - 5; /* 4 / LK_Q_MOST, 4 / LK_BYTE_MOST */
    for (size_t i = 0; i < n_bytes / sizeof *word; i++) {
        uint32_t u = rng_u32(&rng);
        size_t at = i % head;
        if (at < keys) {
            u = cells_high(u);
        } else if (at >= head - LK_KV_BLOCK) {
            uint32_t exponent = (uint32_t)least - 1 - u % 15;
            u = u >> 28 == 7 ? 0 : exponent << 23 | (u >> 4 & 0x7fffff);
        }
        word[i] = u;
    }
}

/* One of the scales that no token may hear of. */
static inline uint32_t cells_stale_scale(uint32_t which)
{
    static const uint32_t SCALES[] = {0x7fc00000u, 0x7f800000u, 0xff800000u,
                                      0x7f7fffffu, 0xbf800000u, 0xffc00001u};
    return SCALES[which % 6];
}

/* n_bytes of whole units that no token may hear of: any integers, scales that are NaN, infinite,
 * negative or beyond the range. */
static inline void cells_stale(const struct lk_state *s, void *units, size_t n_bytes, uint64_t seed)
{
    struct rng rng = {seed};
    uint32_t *word = (uint32_t *)units;
    bool paged = lk_state_is_paged(s);
    size_t head = paged ? lk_state_unit_bytes(s) / sizeof *word / (size_t)s->n_head : 1;
    for (size_t i = 0; i < n_bytes / sizeof *word; i++) {
        uint32_t u = rng_u32(&rng);
        word[i] = !paged || i % head >= head - LK_KV_BLOCK ? cells_stale_scale(u) : u;
    }
}

#endif
