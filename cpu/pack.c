/* SPDX-License-Identifier: Apache-2.0
 *
 * Pack: see pack.h and matmul.h.
 */
#include "cpu/pack.h"

#include <string.h>

#include "cpu/matmul.h"

enum { R = LK_PACK_ROWS };

size_t lk_pack_block_bytes(enum lk_type type)
{
    switch (type) {
    case LK_TYPE_F32:
        return 4 * R;
    case LK_TYPE_F16:
    case LK_TYPE_BF16:
        return 2 * R;
    case LK_TYPE_Q3_K:
        return 24 * 64 + 16 * R + 2 * R;
    case LK_TYPE_Q4_0:
    case LK_TYPE_Q4_1:
    case LK_TYPE_Q5_0:
    case LK_TYPE_Q5_1:
    case LK_TYPE_Q8_0:
    case LK_TYPE_Q2_K:
    case LK_TYPE_Q6_K:
        return (size_t)lk_type_info(type)->block_bytes * R;
    case LK_TYPE_Q4_K:
        return 32 * 64 + 16 * R + 4 * R;
    case LK_TYPE_Q5_K:
        return 40 * 64 + 16 * R + 4 * R;
    }
    return 0;
}

/* Row r's 4 bytes of each of n chunks. */
static uint8_t *put_chunks(uint8_t *to, int r, const uint8_t *from, int n)
{
    for (int c = 0; c < n; c++) {
        memcpy(to + c * 64 + r * 4, from + c * 4, 4);
    }
    return to + n * 64;
}

static uint8_t *put_u16(uint8_t *to, int r, uint16_t x)
{
    memcpy(to + 2 * r, &x, 2);
    return to + 2 * R;
}

/* High bits of 32 elements: bit g of byte j = element 4g + j. */
static uint8_t *put_high_bits(uint8_t *to, int r, const uint8_t qh[4])
{
    uint8_t out[4] = {0};
    for (int i = 0; i < 32; i++) {
        out[i % 4] |= (uint8_t)((qh[i / 8] >> (i % 8) & 1) << (i / 4));
    }
    return put_chunks(to, r, out, 1);
}

static void put_scales(uint8_t *to, int r, const int16_t *sc, int n)
{
    for (int s = 0; s < n; s++) {
        to[s * R + r] = (uint8_t)sc[s];
    }
}

/* Scales and mins of Q4_K and Q5_K, then d and dmin. */
static void put_scales_mins(uint8_t *to, int r, const struct lk_block_ints *b, uint16_t d,
                            uint16_t dmin)
{
    put_scales(to, r, b->sc, 8);
    to += 8 * R;
    for (int s = 0; s < 8; s++) {
        to[(s / 2) * 2 * R + 2 * r + s % 2] = (uint8_t)b->mn[s];
    }
    to = put_u16(to + 8 * R, r, d);
    put_u16(to, r, dmin);
}

static void put_block(enum lk_type type, const void *block, int r, uint8_t *to)
{
    struct lk_block_ints ints;
    if (lk_type_info(type)->block == 256) {
        lk_block_unpack(type, block, &ints);
    }
    switch (type) {
    case LK_TYPE_F32:
        memcpy(to + 4 * r, block, 4);
        break;
    case LK_TYPE_F16:
    case LK_TYPE_BF16:
        memcpy(to + 2 * r, block, 2);
        break;
    case LK_TYPE_Q4_0: {
        struct lk_q4_0 b;
        memcpy(&b, block, sizeof b);
        put_u16(put_chunks(to, r, b.qs, 4), r, b.d);
        break;
    }
    case LK_TYPE_Q4_1: {
        struct lk_q4_1 b;
        memcpy(&b, block, sizeof b);
        put_u16(put_u16(put_chunks(to, r, b.qs, 4), r, b.d), r, b.m);
        break;
    }
    case LK_TYPE_Q5_0: {
        struct lk_q5_0 b;
        memcpy(&b, block, sizeof b);
        put_u16(put_high_bits(put_chunks(to, r, b.qs, 4), r, b.qh), r, b.d);
        break;
    }
    case LK_TYPE_Q5_1: {
        struct lk_q5_1 b;
        memcpy(&b, block, sizeof b);
        to = put_high_bits(put_chunks(to, r, b.qs, 4), r, b.qh);
        put_u16(put_u16(to, r, b.d), r, b.m);
        break;
    }
    case LK_TYPE_Q8_0: {
        struct lk_q8_0 b;
        uint8_t q[32];
        memcpy(&b, block, sizeof b);
        for (int i = 0; i < 32; i++) {
            q[i] = (uint8_t)(b.qs[i] + 128);
        }
        put_u16(put_chunks(to, r, q, 8), r, b.d);
        break;
    }
    case LK_TYPE_Q2_K: {
        struct lk_q2_k b;
        memcpy(&b, block, sizeof b);
        to = put_chunks(to, r, b.qs, 16);
        for (int s = 0; s < 16; s++) {
            to[s * R + r] = b.scales[s];
        }
        put_u16(put_u16(to + 16 * R, r, b.d), r, b.dmin);
        break;
    }
    case LK_TYPE_Q3_K: {
        struct lk_q3_k b;
        memcpy(&b, block, sizeof b);
        to = put_chunks(put_chunks(to, r, b.qs, 16), r, b.hmask, 8);
        put_scales(to, r, ints.sc, 16);
        put_u16(to + 16 * R, r, b.d);
        break;
    }
    case LK_TYPE_Q4_K: {
        struct lk_q4_k b;
        memcpy(&b, block, sizeof b);
        put_scales_mins(put_chunks(to, r, b.qs, 32), r, &ints, b.d, b.dmin);
        break;
    }
    case LK_TYPE_Q5_K: {
        struct lk_q5_k b;
        memcpy(&b, block, sizeof b);
        to = put_chunks(put_chunks(to, r, b.qs, 32), r, b.qh, 8);
        put_scales_mins(to, r, &ints, b.d, b.dmin);
        break;
    }
    case LK_TYPE_Q6_K: {
        struct lk_q6_k b;
        memcpy(&b, block, sizeof b);
        to = put_chunks(put_chunks(to, r, b.ql, 32), r, b.qh, 16);
        put_scales(to, r, ints.sc, 16);
        put_u16(to + 16 * R, r, b.d);
        break;
    }
    }
}

void lk_pack_groups(const struct lk_packed *p, const struct lk_weight *w, int64_t first,
                    int64_t last)
{
    const struct lk_type_info *info = lk_type_info(p->type);
    size_t row_bytes = lk_type_row_bytes(p->type, (size_t)p->cols);
    size_t block_bytes = p->interleaved ? lk_pack_block_bytes(p->type) : 0;
    int64_t n_blocks = p->cols / info->block;
    for (int64_t g = first; g < last; g++) {
        uint8_t *group = p->data + (size_t)g * p->group_bytes;
        for (int64_t r = 0; r < R && g * R + r < p->rows; r++) {
            const uint8_t *row = (const uint8_t *)w->data + (size_t)(g * R + r) * row_bytes;
            if (!p->interleaved) {
                memcpy(group + (size_t)r * row_bytes, row, row_bytes);
                continue;
            }
            for (int64_t b = 0; b < n_blocks; b++) {
                put_block(p->type, row + b * info->block_bytes, (int)r,
                          group + (size_t)b * block_bytes);
            }
        }
    }
}
